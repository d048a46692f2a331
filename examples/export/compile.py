"""Compile an exported model to a library that C++ loads with libtorch, without Python.

lumigraph export tth.pt tth.pt2 --form jagged
python compile.py tth.pt2 tth_cpu.pt2
"""

import json
import sys

import torch

source, target = sys.argv[1:]
extra = {"lumigraph.json": ""}
program = torch.export.load(source, extra_files=extra)
inputs = json.loads(extra["lumigraph.json"])["inputs"]
# score.cpp needs the number of columns of each input
widths = {name: str(inputs[name]["shape"][-1] if name in inputs else 0) for name in ("values", "u", "cat")}
options = {"aot_inductor.metadata": widths}
print(torch._inductor.aoti_compile_and_package(program, package_path=target, inductor_configs=options))
