"""The product's programs with every key that they use written down:

    python -m tests.secrets.recording server|client ARGUMENTS

Each line of the file that `EFT_TEST_SECRETS` names is a secret in hexadecimal: keys of ciphers and
of key derivation, secrets inside challenges, proofs. What the program does is not altered.
"""

import hmac
import importlib
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from Crypto.Cipher import AES, PKCS1_OAEP
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf import hkdf

VARIABLE = "EFT_TEST_SECRETS"


def _note(*secrets: object) -> None:
    found = [bytes(one) for one in secrets if isinstance(one, bytes | bytearray | memoryview)]
    with open(os.environ[VARIABLE], "a", encoding="ascii") as stream:  # noqa: PTH123 - as it is
        stream.writelines(one.hex() + "\n" for one in found)


def _noting(
    function: Callable[..., Any], secrets: Callable[[tuple[Any, ...], Any], tuple[object, ...]]
) -> Callable[..., Any]:
    """The function, whose arguments and result are asked for secrets."""

    @wraps(function)
    def noted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the function
        result = function(*arguments, **named)
        _note(*secrets((*arguments, *named.values()), result))
        return result

    return noted


def _noting_derived(kind: Callable[..., Any]) -> Callable[..., Any]:
    """HKDF, whose input and output are written down."""

    class Noted:
        def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as HKDF
            self._derivation = kind(*arguments, **named)

        def derive(self, material: bytes) -> bytes:
            derived: bytes = self._derivation.derive(material)
            _note(material, derived)
            return derived

    return Noted


def record() -> None:
    """From now on secrets are written down; to be called before the product is imported."""
    module: Any = AES
    module.new = _noting(AES.new, lambda given, _result: (given[0],))
    sealing: Any = aead
    sealing.AESGCM = _noting(aead.AESGCM, lambda given, _result: (given[0],))
    derivation: Any = hkdf
    derivation.HKDF = _noting_derived(hkdf.HKDF)
    authentication: Any = hmac
    authentication.digest = _noting(
        hmac.digest, lambda given, result: (given[0], result) if given[0] else (result,)
    )
    cipher: Any = PKCS1_OAEP.PKCS1OAEP_Cipher
    cipher.encrypt = _noting(cipher.encrypt, lambda given, _result: (given[1],))
    cipher.decrypt = _noting(cipher.decrypt, lambda _given, result: (result,))


if __name__ == "__main__":
    program = sys.argv.pop(1)
    record()
    sys.exit(importlib.import_module(f"{program}.__main__").main())
