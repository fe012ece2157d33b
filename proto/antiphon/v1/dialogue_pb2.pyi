from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_DIALOGUE: _ClassVar[Mode]
    MODE_TRANSCRIPTION: _ClassVar[Mode]
    MODE_SPEECH: _ClassVar[Mode]
    MODE_TEXT: _ClassVar[Mode]
MODE_UNSPECIFIED: Mode
MODE_DIALOGUE: Mode
MODE_TRANSCRIPTION: Mode
MODE_SPEECH: Mode
MODE_TEXT: Mode

class ConverseRequest(_message.Message):
    __slots__ = ("open", "close", "say", "codes", "sequence")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    SAY_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    open: Open
    close: Close
    say: Say
    codes: bytes
    sequence: int
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., say: _Optional[_Union[Say, _Mapping]] = ..., codes: _Optional[bytes] = ..., sequence: _Optional[int] = ...) -> None: ...

class ConverseResponse(_message.Message):
    __slots__ = ("opened", "go_away", "closed", "codes", "text_token", "text", "sequence", "said", "said_all", "pause")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    TEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    SAID_ALL_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    go_away: GoAway
    closed: Closed
    codes: bytes
    text_token: int
    text: str
    sequence: int
    said: int
    said_all: bool
    pause: float
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ..., codes: _Optional[bytes] = ..., text_token: _Optional[int] = ..., text: _Optional[str] = ..., sequence: _Optional[int] = ..., said: _Optional[int] = ..., said_all: bool = ..., pause: _Optional[float] = ...) -> None: ...

class Say(_message.Message):
    __slots__ = ("text", "end", "speaker")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    text: str
    end: bool
    speaker: int
    def __init__(self, text: _Optional[str] = ..., end: bool = ..., speaker: _Optional[int] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("codec_fingerprint", "mode", "sampling", "seed", "timings", "history", "resume_token", "prompt", "conditions", "adapter", "script", "adapter_sha256", "conversation")
    class ConditionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODEC_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_SHA256_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    codec_fingerprint: bytes
    mode: Mode
    sampling: Sampling
    seed: int
    timings: bool
    history: History
    resume_token: bytes
    prompt: Prompt
    conditions: _containers.ScalarMap[str, str]
    adapter: str
    script: Script
    adapter_sha256: bytes
    conversation: str
    def __init__(self, codec_fingerprint: _Optional[bytes] = ..., mode: _Optional[_Union[Mode, str]] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., seed: _Optional[int] = ..., timings: bool = ..., history: _Optional[_Union[History, _Mapping]] = ..., resume_token: _Optional[bytes] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ..., conditions: _Optional[_Mapping[str, str]] = ..., adapter: _Optional[str] = ..., script: _Optional[_Union[Script, _Mapping]] = ..., adapter_sha256: _Optional[bytes] = ..., conversation: _Optional[str] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("voices", "voice_codes", "text", "sha256")
    VOICES_FIELD_NUMBER: _ClassVar[int]
    VOICE_CODES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    voices: _containers.RepeatedScalarFieldContainer[str]
    voice_codes: bytes
    text: str
    sha256: bytes
    def __init__(self, voices: _Optional[_Iterable[str]] = ..., voice_codes: _Optional[bytes] = ..., text: _Optional[str] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class Script(_message.Message):
    __slots__ = ("start", "says", "begun")
    START_FIELD_NUMBER: _ClassVar[int]
    SAYS_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    start: int
    says: _containers.RepeatedCompositeFieldContainer[Say]
    begun: _containers.RepeatedCompositeFieldContainer[BegunWord]
    def __init__(self, start: _Optional[int] = ..., says: _Optional[_Iterable[_Union[Say, _Mapping]]] = ..., begun: _Optional[_Iterable[_Union[BegunWord, _Mapping]]] = ...) -> None: ...

class BegunWord(_message.Message):
    __slots__ = ("said", "step")
    SAID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    said: int
    step: int
    def __init__(self, said: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class History(_message.Message):
    __slots__ = ("steps", "rows", "model", "model_fingerprint")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    steps: int
    rows: bytes
    model: str
    model_fingerprint: bytes
    def __init__(self, steps: _Optional[int] = ..., rows: _Optional[bytes] = ..., model: _Optional[str] = ..., model_fingerprint: _Optional[bytes] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("text_temperature", "text_top_k", "audio_temperature", "audio_top_k")
    TEXT_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TEXT_TOP_K_FIELD_NUMBER: _ClassVar[int]
    AUDIO_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_TOP_K_FIELD_NUMBER: _ClassVar[int]
    text_temperature: float
    text_top_k: int
    audio_temperature: float
    audio_top_k: int
    def __init__(self, text_temperature: _Optional[float] = ..., text_top_k: _Optional[int] = ..., audio_temperature: _Optional[float] = ..., audio_top_k: _Optional[int] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("session_id", "model", "codec", "step_offset", "limits", "resume_token", "rebuilt_steps", "prompt_sha256", "prompt_steps", "adapter_sha256", "ends_in_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    STEP_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REBUILT_STEPS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_SHA256_FIELD_NUMBER: _ClassVar[int]
    PROMPT_STEPS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_SHA256_FIELD_NUMBER: _ClassVar[int]
    ENDS_IN_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: ModelSpec
    codec: CodecSpec
    step_offset: int
    limits: Limits
    resume_token: bytes
    rebuilt_steps: int
    prompt_sha256: bytes
    prompt_steps: int
    adapter_sha256: bytes
    ends_in_ms: int
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[_Union[ModelSpec, _Mapping]] = ..., codec: _Optional[_Union[CodecSpec, _Mapping]] = ..., step_offset: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., resume_token: _Optional[bytes] = ..., rebuilt_steps: _Optional[int] = ..., prompt_sha256: _Optional[bytes] = ..., prompt_steps: _Optional[int] = ..., adapter_sha256: _Optional[bytes] = ..., ends_in_ms: _Optional[int] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "time_left_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    time_left_ms: int
    def __init__(self, reason: _Optional[str] = ..., time_left_ms: _Optional[int] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Closed(_message.Message):
    __slots__ = ("frames", "timings")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    frames: int
    timings: Timings
    def __init__(self, frames: _Optional[int] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("wait_us", "step_us")
    WAIT_US_FIELD_NUMBER: _ClassVar[int]
    STEP_US_FIELD_NUMBER: _ClassVar[int]
    wait_us: _containers.RepeatedScalarFieldContainer[int]
    step_us: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, wait_us: _Optional[_Iterable[int]] = ..., step_us: _Optional[_Iterable[int]] = ...) -> None: ...

class ModelSpec(_message.Message):
    __slots__ = ("name", "model_type", "user_codebooks", "model_codebooks", "cardinality", "text_cardinality", "delay_steps", "context_steps", "sampling", "weights", "random_weights", "text_padding_token", "fingerprint", "silence_before_ms", "silence_after_ms", "sound_delay_steps", "text_delay_ms", "hears_pauses", "speakers", "takes_voice", "takes_text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    USER_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    MODEL_CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    CARDINALITY_FIELD_NUMBER: _ClassVar[int]
    TEXT_CARDINALITY_FIELD_NUMBER: _ClassVar[int]
    DELAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_PADDING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SILENCE_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    SILENCE_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    SOUND_DELAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    HEARS_PAUSES_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    TAKES_VOICE_FIELD_NUMBER: _ClassVar[int]
    TAKES_TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    model_type: str
    user_codebooks: int
    model_codebooks: int
    cardinality: int
    text_cardinality: int
    delay_steps: int
    context_steps: int
    sampling: Sampling
    weights: str
    random_weights: bool
    text_padding_token: int
    fingerprint: bytes
    silence_before_ms: int
    silence_after_ms: int
    sound_delay_steps: int
    text_delay_ms: int
    hears_pauses: bool
    speakers: int
    takes_voice: bool
    takes_text: bool
    def __init__(self, name: _Optional[str] = ..., model_type: _Optional[str] = ..., user_codebooks: _Optional[int] = ..., model_codebooks: _Optional[int] = ..., cardinality: _Optional[int] = ..., text_cardinality: _Optional[int] = ..., delay_steps: _Optional[int] = ..., context_steps: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., weights: _Optional[str] = ..., random_weights: bool = ..., text_padding_token: _Optional[int] = ..., fingerprint: _Optional[bytes] = ..., silence_before_ms: _Optional[int] = ..., silence_after_ms: _Optional[int] = ..., sound_delay_steps: _Optional[int] = ..., text_delay_ms: _Optional[int] = ..., hears_pauses: bool = ..., speakers: _Optional[int] = ..., takes_voice: bool = ..., takes_text: bool = ...) -> None: ...

class CodecSpec(_message.Message):
    __slots__ = ("fingerprint", "sample_rate_hz", "frame_samples", "codebooks", "cardinality")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    FRAME_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    CARDINALITY_FIELD_NUMBER: _ClassVar[int]
    fingerprint: bytes
    sample_rate_hz: int
    frame_samples: int
    codebooks: int
    cardinality: int
    def __init__(self, fingerprint: _Optional[bytes] = ..., sample_rate_hz: _Optional[int] = ..., frame_samples: _Optional[int] = ..., codebooks: _Optional[int] = ..., cardinality: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_sessions", "max_frames_in_flight", "idle_timeout_ms", "max_top_k", "history_steps", "keep_slot_ms", "say_bytes")
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOP_K_FIELD_NUMBER: _ClassVar[int]
    HISTORY_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_SLOT_MS_FIELD_NUMBER: _ClassVar[int]
    SAY_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_sessions: int
    max_frames_in_flight: int
    idle_timeout_ms: int
    max_top_k: int
    history_steps: int
    keep_slot_ms: int
    say_bytes: int
    def __init__(self, max_sessions: _Optional[int] = ..., max_frames_in_flight: _Optional[int] = ..., idle_timeout_ms: _Optional[int] = ..., max_top_k: _Optional[int] = ..., history_steps: _Optional[int] = ..., keep_slot_ms: _Optional[int] = ..., say_bytes: _Optional[int] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("sessions", "draining", "step_p50_ms", "step_p99_ms", "lone_step_ms", "slower_than_real_time")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    STEP_P50_MS_FIELD_NUMBER: _ClassVar[int]
    STEP_P99_MS_FIELD_NUMBER: _ClassVar[int]
    LONE_STEP_MS_FIELD_NUMBER: _ClassVar[int]
    SLOWER_THAN_REAL_TIME_FIELD_NUMBER: _ClassVar[int]
    sessions: int
    draining: bool
    step_p50_ms: float
    step_p99_ms: float
    lone_step_ms: float
    slower_than_real_time: bool
    def __init__(self, sessions: _Optional[int] = ..., draining: bool = ..., step_p50_ms: _Optional[float] = ..., step_p99_ms: _Optional[float] = ..., lone_step_ms: _Optional[float] = ..., slower_than_real_time: bool = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "codec", "limits", "load", "voices", "conditions", "adapters", "worker")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    VOICES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    model: ModelSpec
    codec: CodecSpec
    limits: Limits
    load: Load
    voices: _containers.RepeatedScalarFieldContainer[str]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    adapters: _containers.RepeatedScalarFieldContainer[str]
    worker: str
    def __init__(self, model: _Optional[_Union[ModelSpec, _Mapping]] = ..., codec: _Optional[_Union[CodecSpec, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., voices: _Optional[_Iterable[str]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., adapters: _Optional[_Iterable[str]] = ..., worker: _Optional[str] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("name", "values", "default_value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    default_value: str
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ..., default_value: _Optional[str] = ...) -> None: ...

class GetCodecRequest(_message.Message):
    __slots__ = ("manifest_only", "encoder_only")
    MANIFEST_ONLY_FIELD_NUMBER: _ClassVar[int]
    ENCODER_ONLY_FIELD_NUMBER: _ClassVar[int]
    manifest_only: bool
    encoder_only: bool
    def __init__(self, manifest_only: bool = ..., encoder_only: bool = ...) -> None: ...

class GetCodecResponse(_message.Message):
    __slots__ = ("manifest", "chunk")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    manifest: CodecManifest
    chunk: bytes
    def __init__(self, manifest: _Optional[_Union[CodecManifest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class CodecManifest(_message.Message):
    __slots__ = ("codec", "files")
    CODEC_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    codec: CodecSpec
    files: _containers.RepeatedCompositeFieldContainer[CodecFile]
    def __init__(self, codec: _Optional[_Union[CodecSpec, _Mapping]] = ..., files: _Optional[_Iterable[_Union[CodecFile, _Mapping]]] = ...) -> None: ...

class CodecFile(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: bytes
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...
