"""What tells this process from all others that make files in the same places.

Not its number: in containers that is often 1, and it is given again. Forked children have their parent's.
"""

from __future__ import annotations

import secrets

TOKEN = secrets.token_hex(6)
