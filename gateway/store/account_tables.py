"""Tables of people who sign in to the pages."""

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from gateway.core.accounts import Role
from gateway.store.tables import BY_KEY, one_of


class AccountRow(SQLModel, table=True):
    """Who may sign in. ``secret`` is an argon2id hash, ``code`` the SHA-256 of the code for the first sign-in. Of
    ``division``, ``uscc`` and ``operator_id`` one is set: what the account sees. A welder's ``login`` is the operator
    id; welders sign in with the telephone number that the registries hold."""

    __tablename__ = "accounts"
    __table_args__ = (one_of("role", Role), BY_KEY)
    account_id: str = Field(primary_key=True, max_length=32)
    role: str = Field(max_length=16)
    login: str = Field(max_length=256, unique=True)
    name: str = Field(max_length=128)
    division: str | None = Field(default=None, max_length=12)
    uscc: str | None = Field(default=None, max_length=18, index=True)
    operator_id: str | None = Field(default=None, max_length=256, index=True)
    secret: str | None = Field(default=None, max_length=256)
    code: str | None = Field(default=None, max_length=64)
    code_until: int | None = Field(default=None, sa_column=Column(BigInteger))
    failures: int
    failed_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    made_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    disabled_at: int | None = Field(default=None, sa_column=Column(BigInteger))


class WebSessionRow(SQLModel, table=True):
    """A browser that is signed in. ``token`` is the SHA-256 of what its cookie holds."""

    __tablename__ = "web_sessions"
    __table_args__ = BY_KEY
    token: str = Field(primary_key=True, max_length=64)
    account_id: str = Field(max_length=32, index=True)
    made_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    seen_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    browser: str = Field(max_length=256)
