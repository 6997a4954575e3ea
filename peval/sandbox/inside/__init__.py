"""What runs in the isolated processes: standard library only, nothing else of peval.

The supervisor imports these modules by path with ``python -s -S -P``, so that neither peval nor
any installed package is in the memory that a program's process is forked from.
"""
