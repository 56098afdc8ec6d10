import os
import sys

from .config import Settings
from .server import serve

try:
    settings = Settings.read(os.environ)
except ValueError as error:
    sys.exit(f"agent-engine: {error}")
serve(settings)
