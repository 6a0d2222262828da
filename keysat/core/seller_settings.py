"""The settings of the seller, as buyers see it."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from keysat.core.setting_types import Absolute, Address, Color


class SellerSettings(BaseSettings):
    """Name, logo, color and address on the pages and in mail for buyers."""

    seller_name: str = Field(
        default="",
        max_length=200,
        description="The seller's name on pages, in mail and in the API; unset: the host of the public URL.",
    )
    seller_logo: Absolute | None = Field(
        default=None, description="An image file (PNG, JPEG, WebP, GIF or SVG) shown on pages; unset: none."
    )
    seller_color: Color = Field(
        default="#3d5afe", description="The color of buttons and links on pages, as #0f6fde; made legible if it isn't."
    )
    support_address: Address = Field(default="", description="The e-mail address where buyers get help; unset: none.")
