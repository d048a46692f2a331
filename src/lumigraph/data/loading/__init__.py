"""Events in memory and from files, served as Batches.

Three words for slices of the events of files, in all modules:

- a *chunk*: events of one file that are read at once;
- a *window*: the chunks whose events are mixed with one another;
- a *share*: what one rank, or one part of a split, gets of the events.

A *group* is the file's own word: events that are stored together, such as a row group of Parquet.
"""
