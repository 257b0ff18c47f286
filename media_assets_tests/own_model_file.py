"""A model file as a user writes one: a voice of their own at fal, with a price they vouch for."""

OWN_MODEL = "fal:my-voice"

OWN_MODEL_FILE = """
provider = "fal"
pricing_url = "https://example.com"

[[model]]
id = "fal:my-voice"
title = "a voice of my own"
step = "audio"
endpoint = "fal-ai/kokoro/american-english"
version = "1"
recovery = "B"
run_deadline_s = 60
source = "my own notes"
checked = 2026-11-24
roles = { script = "prompt" }

[[model.price]]
from = 2026-11-01
usd = "0.00002"
per = "character"
source = "my contract"
own_word = true
"""
