"""peval's version; part of every manifest and signature."""

__version__ = "0.1.0"
