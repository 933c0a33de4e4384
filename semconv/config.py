from types import SimpleNamespace as N
import importlib.metadata as m
def load_suite(n):
    return N(corpus=N(context=256,packages={n:m.version(n) for n in "numpy scipy transformers sympy scikit-learn statsmodels pandas networkx beartype nltk matplotlib huggingface_hub transformer-lens datasets".split()}))
