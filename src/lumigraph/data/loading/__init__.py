"""Events in memory and from files, served as Batches.

All modules use these words for slices of the events of files:

- a *chunk*: events of one file that are read at once;
- a *window*: the `buffer_size` chunks whose events are mixed;
- a *share*: the events of one rank, or of one part of a split;
- a *group*: events stored together by the file, such as a row group of Parquet.
"""
