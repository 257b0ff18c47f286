"""A prompt and a script become a narrated film, made by several paid models, and nothing is paid for twice."""
