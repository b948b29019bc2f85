"""`python -m connectors.documents` writes the documents anew."""

from connectors.documents import DOCUMENTS, FOLDER, text
from connectors.registry import PROVIDERS

if __name__ == "__main__":
    for name in DOCUMENTS:
        (FOLDER / f"{name}.json").write_text(text(name, PROVIDERS))
