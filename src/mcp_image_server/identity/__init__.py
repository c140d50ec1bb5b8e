"""Who comes in over HTTP: bearer tokens from a file, or from an OAuth issuer, and what becomes of those who guess."""

from .doorkeeper import Doorkeeper, Forbidden, Standing, TooMany, Unknown
from .issuer import Issuer
from .tokens import Token, TokenFile, hash_of, new_token

__all__ = ["Doorkeeper", "Forbidden", "Issuer", "Standing", "Token", "TokenFile", "TooMany", "Unknown", "hash_of", "new_token"]
