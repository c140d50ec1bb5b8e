"""What the operator may set. A `Settings` never changes; `reload` makes a new one.

Values come from the process environment, a `.env` file and a TOML file in the working directory; `configuration` puts them together.
Each provider keeps the settings of its own service beside its adapter and reads them with `parse` from the same environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from .errors import ConfigError
from .fields import BaseUrl, ClientChanges, Currency, DatabaseUrl, JsonList, Key, Micros, OwnLimits, OwnPrice, StoreUrl, json_object
from .models import Allowance

Environment = Mapping[str, str]
"""Variable names in capitals, to their values."""

LOCALHOST = frozenset({"127.0.0.1", "localhost", "::1"})

SECRET_WORDS = ("SECRET", "TOKEN", "KEY", "PASSWORD", "DATABASE_URL")
"""A variable whose name holds one of these is never shown."""


OBSOLETE = {
    "MCP_SESSION_CLEANUP_INTERVAL": "sessions end by themselves after MCP_SESSION_TIMEOUT",
    "MCP_SSE_KEEPALIVE": "streams are kept alive as the protocol's library sees fit",
}
"""Variables that an earlier server read and this one does not need, and why."""


def read_process(process: Mapping[str, str] | None = None) -> Environment:
    """The process environment, its names in capitals."""
    return {name.upper(): value for name, value in (os.environ if process is None else process).items()}


def read_dotenv(path: Path) -> Environment:
    """What the `.env` file sets; nothing where there is none.

    Raises:
        ConfigError: it cannot be read or understood; the message names the line.
    """
    return _with_full_names(_read_dotenv(path))


def _with_full_names(values: dict[str, str]) -> dict[str, str]:
    """In the file, `host=…` is as good as `MCP_HOST=…`. In the process it is not: other programs have a HOST too."""
    own = {str(info.alias) for info in Settings.model_fields.values()}
    return {f"MCP_{name}" if f"MCP_{name}" in own and f"MCP_{name}" not in values else name: value for name, value in values.items()}


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from io import StringIO

    from dotenv.main import resolve_variables  # the same parser as `dotenv_values`, which hides its complaints in a log
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Save it as UTF-8 text, or remove it.") from error
    bindings = list(parse_stream(StringIO(text)))
    for binding in bindings:
        if binding.error:
            raise ConfigError(
                f"{path}, line {binding.original.line}: this is not NAME=value. Put quotes around a value with spaces, close each quote, or start the line with #."
            )
    pairs = [(binding.key, binding.value) for binding in bindings if binding.key is not None]
    return {name.upper(): value or "" for name, value in resolve_variables(pairs, override=False).items()}


T = TypeVar("T", bound=BaseModel)


def parse(kind: type[T], environment: Environment) -> T:
    """The settings of that kind, read from their variables.

    Raises:
        ConfigError: a value is wrong; the message names each variable and what would be right, never a secret's value.
    """
    fields = {str(info.alias or name) for name, info in kind.model_fields.items()}
    try:
        return kind.model_validate({name: environment[name] for name in fields if name in environment})
    except ValidationError as error:
        problems = [": ".join(filter(None, (" → ".join(map(str, problem["loc"])), _words(problem)))) for problem in error.errors(include_url=False)]
        raise ConfigError("Settings are wrong. " + " ".join(problems), details={"problems": problems}) from None


def _words(problem: Any) -> str:
    text = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    name = str(problem["loc"][0]) if problem["loc"] else ""
    value = problem.get("input")
    hidden = any(word in name for word in SECRET_WORDS) or not isinstance(value, str) or "@" in value  # a password may stand before it
    shown = "" if hidden else f" (it is {value!r})"
    return f"{text}{shown}."


class Settings(BaseModel):
    """Settings of the server itself. Those marked with `restart` take effect at the next start only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_file: Path | None = Field(
        None,
        alias="MCP_CONFIG_FILE",
        description="TOML file with settings, for what neither the process environment nor `.env` sets. Unset: mcp-image-server.toml in the working directory, "
        "where there is one.",
    )
    transport: Literal["http", "stdio"] | None = Field(
        None,
        alias="MCP_TRANSPORT",
        description="How clients reach the server: stdio or http. Unset: stdio when standard input is a pipe, http otherwise.",
        json_schema_extra={"restart": True},
    )
    host: str = Field("127.0.0.1", alias="MCP_HOST", min_length=1, description="Address to listen on over HTTP.", json_schema_extra={"restart": True})
    port: int = Field(8000, alias="MCP_PORT", ge=1, le=65535, description="Port to listen on over HTTP.", json_schema_extra={"restart": True})
    auth_token: SecretStr | None = Field(
        None,
        alias="MCP_AUTH_TOKEN",
        description="Bearer token that every HTTP request must carry. With it, image links are signed; without it, only this machine may connect.",
        json_schema_extra={"restart": True},
    )
    tokens_file: Path | None = Field(
        None,
        alias="MCP_TOKENS_FILE",
        description="TOML file with the hashes of bearer tokens, and who their bearers are; `mcp-image-server token create` writes it. Read again when it changes.",
        json_schema_extra={"restart": True},
    )
    oauth_issuer: BaseUrl | None = Field(
        None,
        alias="MCP_OAUTH_ISSUER",
        description="Address of an OAuth 2.1 or OpenID Connect issuer, as it stands in its tokens. Its JWTs open the server, and clients are sent there to sign in.",
        json_schema_extra={"restart": True},
    )
    oauth_audience: JsonList = Field(
        (),
        alias="MCP_OAUTH_AUDIENCE",
        description="What a token's audience has to be, as a JSON list; one of them is enough. Empty: the address of this server's /mcp.",
        json_schema_extra={"restart": True},
    )
    oauth_scopes: JsonList = Field(
        (), alias="MCP_OAUTH_SCOPES", description="Scopes that a token has to have, as a JSON list.", json_schema_extra={"restart": True}
    )
    oauth_jwks_url: BaseUrl | None = Field(
        None,
        alias="MCP_OAUTH_JWKS_URL",
        description="Where the issuer publishes its keys. Unset: as its discovery document says.",
        json_schema_extra={"restart": True},
    )
    oauth_subject_claim: str = Field(
        "sub",
        alias="MCP_OAUTH_SUBJECT_CLAIM",
        description="Claim that names the principal; it must never be given to somebody else.",
        json_schema_extra={"restart": True},
    )
    oauth_roles_claim: str = Field(
        "roles",
        alias="MCP_OAUTH_ROLES_CLAIM",
        description="Claim with the roles; a dot goes one level down, as in realm_access.roles.",
        json_schema_extra={"restart": True},
    )
    oauth_team_claim: str | None = Field(
        None, alias="MCP_OAUTH_TEAM_CLAIM", description="Claim with the name of the team. Unset: nobody has one.", json_schema_extra={"restart": True}
    )
    oauth_admin_role: str = Field(
        "admin", alias="MCP_OAUTH_ADMIN_ROLE", description="The role that makes an administrator.", json_schema_extra={"restart": True}
    )
    oauth_viewer_role: str = Field(
        "viewer",
        alias="MCP_OAUTH_VIEWER_ROLE",
        description="The role of those who may look but neither draw nor change.",
        json_schema_extra={"restart": True},
    )
    secret: SecretStr | None = Field(
        None,
        alias="MCP_SECRET",
        min_length=32,
        description="Secret of 32 characters or more, from which keys for links and states are derived; the same for all servers behind one address. "
        "Unset: made once and kept in the data folder.",
        json_schema_extra={"restart": True},
    )
    requests_per_minute: int | None = Field(
        None,
        alias="MCP_REQUESTS_PER_MINUTE",
        ge=1,
        description="HTTP requests that each principal may make in a minute, at one server or at all that share a PostgreSQL.",
    )
    principal_jobs: int | None = Field(None, alias="MCP_PRINCIPAL_JOBS", ge=1, description="Jobs that each principal may have under way at once.")
    principal_images_day: int | None = Field(
        None, alias="MCP_PRINCIPAL_IMAGES_DAY", ge=0, description="Images that each principal may ask for in a day (UTC)."
    )
    max_body_bytes: int = Field(
        67_108_864,
        alias="MCP_MAX_BODY_BYTES",
        ge=65_536,
        description="Largest HTTP request, in bytes; an input picture in base64 has to fit.",
        json_schema_extra={"restart": True},
    )
    audit_file: Path | None = Field(
        None,
        alias="MCP_AUDIT_FILE",
        description="File to which servers add a line of JSON for each sign-in, refusal, job, deletion and other act of somebody. Unset: the log alone has them, over HTTP.",
        json_schema_extra={"restart": True},
    )
    allowed_origins: JsonList = Field(
        (),
        alias="MCP_ALLOWED_ORIGINS",
        description='Web origins besides this machine\'s that may call the server, as a JSON list; ["*"] allows any.',
        json_schema_extra={"restart": True},
    )
    allowed_hosts: JsonList = Field(
        (),
        alias="MCP_ALLOWED_HOSTS",
        description="Host names besides this machine's under which the server may be called, as a JSON list; a port may follow, or `:*`. The host of MCP_PUBLIC_BASE_URL is added.",
        json_schema_extra={"restart": True},
    )
    trusted_proxies: JsonList = Field(
        (),
        alias="MCP_TRUSTED_PROXIES",
        description='Addresses or networks of proxies in front of the server, as a JSON list such as ["127.0.0.1", "10.0.0.0/8"]. What they say in '
        "X-Forwarded-For and X-Forwarded-Proto is believed; what others say is not.",
        json_schema_extra={"restart": True},
    )
    enable_sessions: bool = Field(
        True,
        alias="MCP_ENABLE_SESSIONS",
        description="Whether clients of the protocol before 2026 get a session over HTTP; without one, each request stands alone.",
        json_schema_extra={"restart": True},
    )
    session_timeout: float = Field(
        3600,
        alias="MCP_SESSION_TIMEOUT",
        gt=0,
        description="Seconds after which an unused HTTP session ends; its client is told 404 and begins a new one.",
        json_schema_extra={"restart": True},
    )
    enable_sse: bool = Field(
        True,
        alias="MCP_ENABLE_SSE",
        description="Whether a client may open a stream with GET; without, it is answered 501. Answers to POST are not concerned.",
        json_schema_extra={"restart": True},
    )
    save_dir: Path | None = Field(
        None,
        alias="MCP_IMAGE_SAVE_DIR",
        description="Folder for the pictures. Unset: generated_images in the working directory where that can be written, else the user's data folder.",
        json_schema_extra={"restart": True},
    )
    data_dir: Path | None = Field(
        None,
        alias="MCP_DATA_DIR",
        description="Folder of the database with history and jobs, one for all servers of a user. Unset: the user's data folder.",
        json_schema_extra={"restart": True},
    )
    database_url: DatabaseUrl | None = Field(
        None,
        alias="MCP_DATABASE_URL",
        description="PostgreSQL database with history and jobs, for many servers that share them: postgresql://user:password@host:5432/database. "
        "Needs the extra postgres. Unset: a file in MCP_DATA_DIR.",
        json_schema_extra={"restart": True},
    )
    store_url: StoreUrl | None = Field(
        None,
        alias="MCP_STORE_URL",
        description="Object store for the pictures, in place of MCP_IMAGE_SAVE_DIR: s3://bucket/prefix, opened with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_REGION and, for a store of one's own, AWS_ENDPOINT_URL; or gs://bucket/prefix, az://account/container/prefix.",
        json_schema_extra={"restart": True},
    )
    allowed_folders: JsonList = Field(
        (),
        alias="MCP_ALLOWED_FOLDERS",
        description="Folders besides the working directory and the picture folder where callers on this machine may have copies written, as a JSON list.",
    )
    provenance_prompt: bool = Field(
        True,
        alias="MCP_PROVENANCE_PROMPT",
        description="Whether the prompt is written into the files of pictures, beside model, seed, service, time and job.",
    )
    aigc_producer: str | None = Field(
        None,
        alias="MCP_AIGC_PRODUCER",
        description="Name or code of the producer in the label of generated pictures that China's GB 45438-2025 asks for in files. "
        "Unset: the service that drew, in pictures that an AI model drew.",
    )
    c2pa_certificate: Path | None = Field(
        None,
        alias="MCP_C2PA_CERTIFICATE",
        description="PEM file with the certificate, and those up to its root, that pictures are signed with (C2PA content credentials). "
        "Needs MCP_C2PA_KEY and the extra c2pa. A picture that its service has signed keeps that signature.",
    )
    c2pa_key: Path | None = Field(None, alias="MCP_C2PA_KEY", description="PEM file with the private key of that certificate.")
    c2pa_alg: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = Field(
        "es256", alias="MCP_C2PA_ALG", description="How the key signs: es256, es384, es512, ps256, ps384, ps512 or ed25519."
    )
    public_base_url: BaseUrl | None = Field(
        None, alias="MCP_PUBLIC_BASE_URL", description="Address under which people reach the server; image links start with it."
    )
    allow_unauthenticated: bool = Field(
        False,
        alias="MCP_ALLOW_UNAUTHENTICATED",
        description="Listen on other addresses than this machine's own although no token is set.",
        json_schema_extra={"restart": True},
    )
    public_images: bool = Field(
        False,
        alias="MCP_PUBLIC_IMAGES",
        description="Let anybody who knows a picture's name fetch it over HTTP, although MCP_AUTH_TOKEN is set.",
        json_schema_extra={"restart": True},
    )
    link_ttl: int = Field(604_800, alias="MCP_IMAGE_LINK_TTL", gt=0, description="Seconds for which a signed link to a picture works.")
    default_provider: str | None = Field(
        None, alias="MCP_DEFAULT_PROVIDER", description="Provider for requests that name none. Unset: the first that is configured."
    )
    models_file: Path | None = Field(
        None,
        alias="MCP_MODELS_FILE",
        description="TOML file with facts about models that correct the built-in table, add to it and choose other defaults; docs/providers.md shows one.",
    )
    get_image_data_max_bytes: int = Field(
        10_485_760, alias="MCP_GET_IMAGE_DATA_MAX_BYTES", gt=0, description="Largest picture, in bytes, that get_image_data returns inline."
    )
    image_record_ttl: int | None = Field(
        None,
        alias="MCP_IMAGE_RECORD_TTL",
        gt=0,
        description="Seconds after which get_image_data no longer finds an image. Files and history stay. Unset: never.",
    )
    wait_seconds: float = Field(
        40,
        alias="MCP_WAIT_SECONDS",
        ge=0,
        le=3600,
        description="Seconds a tool call waits for its pictures before it answers with the id of the running job. Unset: as long as suits the client, where it "
        "is known; 40 otherwise.",
    )
    clients: Annotated[Mapping[str, ClientChanges], json_object('{"my-client*": {"wait_seconds": 20}}')] = Field(
        default_factory=dict,
        alias="MCP_CLIENTS",
        description="How to answer clients of certain names, where the server knows it worse than you: a JSON object of names (`*` stands for anything) to any of "
        'wait_seconds, structured, previews, preview_edge, preview_bytes and links, such as {"my-client*": {"wait_seconds": 20, "previews": 1}}.',
        json_schema_extra={"restart": True},
    )
    job_timeout: float = Field(900, alias="MCP_JOB_TIMEOUT", gt=0, le=86_400, description="Seconds after which a job that is still running fails.")
    cancel_with_request: bool = Field(
        False,
        alias="MCP_CANCEL_WITH_REQUEST",
        description="Whether a job is cancelled when the client cancels the call that waits for it. Otherwise it goes on, and get_job finds it.",
    )
    join_after: float = Field(
        3,
        alias="MCP_JOIN_AFTER",
        ge=0,
        le=86_400,
        description="Seconds after which the same request joins the job that is still under way for it, as a retry after a time-out does. "
        "A job whose caller has gone is joined at once; fresh: true never joins.",
    )
    retries: int = Field(
        3,
        alias="MCP_RETRIES",
        ge=0,
        le=10,
        description="How often a job that its service surely did not take goes back in line, within its deadline.",
    )
    routing: Literal["order", "auto"] = Field(
        "order",
        alias="MCP_ROUTING",
        description="Who draws when a request names nobody: order: the default provider, else the first that is configured; "
        "auto: the one that fits best by what is asked, language, price, health and speed.",
    )
    fallback: Annotated[Mapping[str, tuple[str, ...]], json_object('{"openai": ["doubao"]}')] = Field(
        default_factory=dict,
        alias="MCP_FALLBACK",
        description='Who may draw instead when a provider surely did not take the work, as a JSON object: {"openai": ["doubao", "hunyuan/hunyuan-image-3.0"]}. '
        'Under "*": for every provider. "any" is every configured service, "none" nobody. Empty: nobody, unless a call allows it.',
    )
    limits: Annotated[Mapping[str, OwnLimits], json_object('{"openai": {"concurrent": 8}}')] = Field(
        default_factory=dict,
        alias="MCP_LIMITS",
        description='What your accounts may have, in place of what is known, as a JSON object: {"openai": {"concurrent": 8, "per_second": 2, "images_per_minute": 50}}. '
        "All servers that share a database keep to them together.",
    )
    prices: Annotated[Mapping[str, OwnPrice], json_object('{"modelscope": 0}')] = Field(
        default_factory=dict,
        alias="MCP_PRICES",
        description='What you pay, in place of the list prices, as a JSON object by provider or provider/model: {"modelscope": 0, "openai/gpt-image-2": '
        '{"amount": 0.05, "currency": "USD", "per": "image"}}.',
    )
    budget_currency: Currency = Field(
        "USD", alias="MCP_BUDGET_CURRENCY", description="Currency of the budgets, of MCP_CONFIRM_ABOVE and of MCP_PRICES."
    )
    currency_rates: Annotated[Mapping[Currency, Annotated[float, Field(gt=0, allow_inf_nan=False)]], json_object('{"CNY": 0.14}')] = Field(
        default_factory=dict,
        alias="MCP_CURRENCY_RATES",
        description='What one unit of another currency is worth in that of the budgets, as a JSON object: {"CNY": 0.14}.',
    )
    budget_day: Micros | None = Field(
        None, alias="MCP_BUDGET_DAY", description="Most that all together may spend in a day (UTC). What is under way counts as spent."
    )
    budget_month: Micros | None = Field(None, alias="MCP_BUDGET_MONTH", description="Most that all together may spend in a month (UTC).")
    budget_principal_day: Micros | None = Field(None, alias="MCP_BUDGET_PRINCIPAL_DAY", description="Most that each principal may spend in a day.")
    budget_principal_month: Micros | None = Field(
        None, alias="MCP_BUDGET_PRINCIPAL_MONTH", description="Most that each principal may spend in a month."
    )
    confirm_above: Micros | None = Field(
        None,
        alias="MCP_CONFIRM_ABOVE",
        description="The person is asked before a job that is estimated to cost more than this, or whose price nobody knows. "
        "Where the client cannot ask, the job is refused.",
    )
    upload_ttl: float = Field(
        3600,
        alias="MCP_UPLOAD_TTL",
        gt=0,
        le=604_800,
        description="Seconds for which the link of an upload takes bytes; what is not finished by then is thrown away.",
    )
    trash_days: float = Field(
        30,
        alias="MCP_TRASH_DAYS",
        ge=0,
        le=36_500,
        description="Days for which a deleted picture can be got back. After that its files are removed when a server starts, or by `history purge`.",
    )
    toolset: Literal["core", "full"] = Field(
        "core",
        alias="MCP_TOOLSET",
        description="Which tools clients are offered: core: those that every conversation may need, few enough for small contexts; full: all.",
        json_schema_extra={"restart": True},
    )
    tools_on: JsonList = Field(
        (), alias="MCP_TOOLS_ON", description="Tools to offer besides those of the set, as a JSON list of names.", json_schema_extra={"restart": True}
    )
    tools_off: JsonList = Field(
        (), alias="MCP_TOOLS_OFF", description="Tools of the set not to offer, as a JSON list of names.", json_schema_extra={"restart": True}
    )
    max_concurrent_jobs: int = Field(
        8,
        alias="MCP_MAX_CONCURRENT_JOBS",
        ge=1,
        description="Jobs one server process works on at once; more wait in line.",
        json_schema_extra={"restart": True},
    )
    improve: Literal["asked", "always"] = Field(
        "asked",
        alias="MCP_IMPROVE",
        description="When a chat model writes prompts anew before a picture is drawn from words: asked: when a call says improve; always: unless it says improve=false.",
    )
    improve_url: BaseUrl | None = Field(
        None,
        alias="MCP_IMPROVE_URL",
        description="Address of a chat model's interface that has /chat/completions, such as https://api.openai.com/v1. Unset: prompts stay as they are written.",
    )
    improve_key: Key | None = Field(None, alias="MCP_IMPROVE_KEY", description="Key for that interface, where it wants one.")
    improve_model: str | None = Field(None, alias="MCP_IMPROVE_MODEL", description="The chat model that writes prompts anew.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", alias="MCP_LOG_LEVEL", description="Least severity that is logged, to standard error.", json_schema_extra={"restart": True}
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        alias="MCP_LOG_FORMAT",
        description="How the log is written: text, or json: an object to a line, with the ids of request, job and trace.",
        json_schema_extra={"restart": True},
    )
    access_log: bool = Field(
        False,
        alias="MCP_ACCESS_LOG",
        description="Log each HTTP request, but for those of /health, /ready and /metrics.",
        json_schema_extra={"restart": True},
    )
    metrics: bool = Field(
        False,
        alias="MCP_METRICS",
        description="Whether /metrics tells Prometheus how the server is. Where tokens are asked for, it needs one with the role viewer or admin.",
        json_schema_extra={"restart": True},
    )
    drain_seconds: float = Field(
        0,
        alias="MCP_DRAIN_SECONDS",
        ge=0,
        le=600,
        description="Seconds for which a server that was told to stop goes on taking requests, while /ready answers 503.",
        json_schema_extra={"restart": True},
    )
    debug: bool = Field(False, alias="MCP_DEBUG", description="Log everything, with tracebacks.", json_schema_extra={"restart": True})

    @field_validator("transport", "default_provider", "improve", "toolset", "c2pa_alg", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _an_address_and_its_model(self) -> Self:
        if (self.improve_url is None) != (self.improve_model is None):
            raise ValueError("MCP_IMPROVE_URL and MCP_IMPROVE_MODEL belong together: set both, or neither")
        if self.improve_url is None and (self.improve == "always" or self.improve_key is not None):
            raise ValueError("MCP_IMPROVE and MCP_IMPROVE_KEY mean nothing without MCP_IMPROVE_URL and MCP_IMPROVE_MODEL")
        return self

    @model_validator(mode="after")
    def _a_key_and_its_certificate(self) -> Self:
        if (self.c2pa_certificate is None) != (self.c2pa_key is None):
            raise ValueError("MCP_C2PA_CERTIFICATE and MCP_C2PA_KEY belong together: set both, or neither")
        return self

    @property
    def has_identities(self) -> bool:
        """Whoever comes over HTTP is asked for a token."""
        return self.auth_token is not None or self.tokens_file is not None or self.oauth_issuer is not None

    @property
    def allowance(self) -> Allowance:
        """What a principal may have of whom nothing else is said."""
        return Allowance(
            requests_per_minute=self.requests_per_minute,
            jobs=self.principal_jobs,
            images_per_day=self.principal_images_day,
            budget_day=self.budget_principal_day,
            budget_month=self.budget_principal_month,
        )

    @property
    def is_local(self) -> bool:
        """Only programs on this machine can connect."""
        return self.host in LOCALHOST


def needs_restart(name: str) -> bool:
    """Whether a change of this field takes effect at the next start only."""
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("restart"))


def save_folder(settings: Settings) -> Path:
    """Where pictures go, absolute: the folder that was set, else `./generated_images`, else the user's data folder.

    A desktop program often starts its servers in the root folder or in one that cannot be written; the fallback is for those.
    """
    if settings.save_dir is not None:
        return settings.save_dir.expanduser().absolute()
    here = Path.cwd()
    if here != Path(here.anchor) and os.access(here, os.W_OK):
        return here / "generated_images"
    return data_folder(settings) / "images"


def record_place(settings: Settings) -> Path | str:
    """Where the record is: the URL of a database, or the folder of its file."""
    return settings.database_url.get_secret_value() if settings.database_url is not None else data_folder(settings)


def database_words(place: Path | str) -> str:
    """Such a place as people may see it: without the user and the password."""
    if isinstance(place, Path):
        return str(place)
    parts = urlsplit(place)
    return f"{parts.hostname or 'localhost'}{f':{parts.port}' if parts.port else ''}{parts.path}"


def data_folder(settings: Settings) -> Path:
    """Where the database lives, absolute: one per user, never per working directory."""
    if settings.data_dir is not None:
        return settings.data_dir.expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("image-gen-mcp-server", appauthor=False)
