"""The settings of mail to buyers: the server, the sender, the language. A part of `keysat.core.settings.Settings`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from keysat.core.setting_types import Absolute, Sender, SmtpUrl


class MailSettings(BaseModel):
    """Mail is off without `smtp_url`."""

    mail_from: Sender = Field(
        default="", description="The sender that buyers see, as The shop <licenses@example.com>; needed for mail."
    )
    mail_reply_to: Sender = Field(default="", description="Where answers of buyers go; unset: to the sender.")
    smtp_url: SmtpUrl = Field(
        default="",
        repr=False,
        description="The mail server, as smtp://user:password@mail.example.com:587 (with STARTTLS) or smtps://...; "
        "unset: no mail is sent.",
    )
    mail_templates: Absolute | None = Field(
        default=None,
        description="A folder with templates of your own, which replace those of the same name; unset: none.",
    )
    mail_language: Literal["en", "de"] = Field(default="en", description="The language of mail to buyers.")

    @field_validator("smtp_url")
    @classmethod
    def _with_sender(cls, url: str, info: ValidationInfo) -> str:
        if url and not info.data.get("mail_from", "invalid"):
            raise ValueError("mail needs a sender; set KEYSAT_MAIL_FROM, as The shop <licenses@example.com>")
        return url

    @property
    def mail_is_on(self) -> bool:
        """Whether mail is sent to buyers."""
        return bool(self.smtp_url)
