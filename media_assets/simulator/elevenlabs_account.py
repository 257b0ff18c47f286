"""What ElevenLabs tells of an account and of its models: the fields its specification of 2026-08-22 requires."""

from typing import Any, Final

from media_assets.simulator.elevenlabs_inputs import Model

_CREDIT_LIMIT: Final = 1_000_000_000
"""What the account may use. It is not held to it: only the fault ``insufficient_credit`` empties an account."""


def subscription(used: int) -> dict[str, Any]:
    """Return the account's subscription; everything but what it has ``used`` of its credits is made up."""
    return {
        "tier": "creator",
        "character_count": used,
        "character_limit": _CREDIT_LIMIT,
        "max_character_limit_extension": None,
        "max_credit_limit_extension": 0,
        "can_extend_character_limit": False,
        "allowed_to_extend_character_limit": False,
        "next_character_count_reset_unix": None,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 30,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 1,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": True,
        "can_use_professional_voice_cloning": True,
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "active",
        "billing_period": "monthly_period",
        "character_refresh_period": "monthly_period",
        "next_invoice": None,
        "open_invoices": [],
        "has_open_invoices": False,
        "pending_change": None,
    }


def described(model: Model) -> dict[str, Any]:
    """Return a model as the list of models has it."""
    return {
        "model_id": model.id,
        "name": model.name,
        "can_be_finetuned": False,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_use_style": True,
        "can_use_speaker_boost": True,
        "serves_pro_voices": False,
        "token_cost_factor": model.credits_per_character,
        "description": f"{model.name}, simulated.",
        "requires_alpha_access": False,
        "max_characters_request_free_user": model.longest,
        "max_characters_request_subscribed_user": model.longest,
        "maximum_text_length_per_request": model.longest,
        "languages": [{"language_id": "en", "name": "English"}],
        "model_rates": {"character_cost_multiplier": model.credits_per_character, "cost_discount_multiplier": 1.0},
        "concurrency_group": f"standard_{model.id}",
    }
