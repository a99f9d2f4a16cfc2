import hashlib

from datamap.files import outputs

ROWS = "rows.csv"
LEVELS = ("exact", "normalised", "answer", "context", "contained", "template", "none")


def write_rows(d, f):
    outputs.write_csv(d / ROWS, f)


def text_hash(texts):
    digest = hashlib.sha256()
    for text in sorted(set(texts)):
        part = text.encode("utf-8", "surrogatepass")
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
