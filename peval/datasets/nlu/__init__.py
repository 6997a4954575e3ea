"""Sentence classification in domain and out of domain: MNLI, HANS, CoLA, RTE, QQP, PAWS-QQP.

`rows` reads files, `patterns` writes texts, `contexts` draws demonstrations, `read` joins them.
"""

from peval.datasets.nlu.read import expand, files_of, labels_of, read

__all__ = ["expand", "files_of", "labels_of", "read"]
