// Score events in C++: libtorch, as it comes with PyTorch, and nothing of Python.
//
//     lumigraph export tth.pt tth.pt2 --form jagged
//     python compile.py tth.pt2 tth_cpu.pt2
//     ./score tth_cpu.pt2 events.txt > scores.txt
//
// events.txt holds, event after event: the number of particles n, event features, categories, then n lines of features.
// compile.py writes into the model how many there are of each; `lumigraph.json` in tth.pt2 says which they are.

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <type_traits>
#include <vector>

void score(const char* package, const char* events_file) {
  torch::inductor::AOTIModelPackageLoader model(package);
  auto about = model.get_metadata();
  const int64_t features = std::stoll(about.at("values")), u_width = std::stoll(about.at("u")),
                cat_width = std::stoll(about.at("cat"));

  std::vector<float> values, u;
  std::vector<int64_t> lengths, cat;
  std::ifstream file(events_file);
  auto read = [&file](auto& to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      typename std::decay_t<decltype(to)>::value_type number;
      if (!(file >> number)) throw std::runtime_error("the last event is cut off, or holds something else than numbers");
      to.push_back(number);
    }
  };
  for (int64_t particles; file >> particles;) {
    lengths.push_back(particles);
    read(u, u_width);
    read(cat, cat_width);
    read(values, particles * features);
  }
  if (lengths.empty() || !file.eof()) throw std::runtime_error("events.txt must begin each event with its number of particles");

  const auto events = static_cast<int64_t>(lengths.size());
  std::vector<at::Tensor> inputs;
  if (features > 0) {
    inputs.push_back(at::from_blob(values.data(), {static_cast<int64_t>(values.size()) / features, features}, at::kFloat));
    inputs.push_back(at::from_blob(lengths.data(), {events}, at::kLong));
  }
  if (u_width > 0) inputs.push_back(at::from_blob(u.data(), {events, u_width}, at::kFloat));
  if (cat_width > 0) inputs.push_back(at::from_blob(cat.data(), {events, cat_width}, at::kLong));

  const at::Tensor scores = model.run(inputs).at(0).contiguous();
  std::cout << std::setprecision(9);
  for (int64_t event = 0; event < events; ++event)
    for (int64_t i = 0; i < scores.size(1); ++i)
      std::cout << scores.data_ptr<float>()[event * scores.size(1) + i] << (i + 1 < scores.size(1) ? ' ' : '\n');
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " model.pt2 events.txt\n";
    return 2;
  }
  try {
    score(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return 1;
  }
}
