"""Models, tokenizers and files that cannot be had."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

_NO_FILE = "A file of the model or the data is not there under this path."

CAUSES = (
    Cause(
        "hub_auth_gated",
        "the hub does not let you have it",
        says="The model or data is gated or private: its terms were not accepted, or no valid token was sent.",
        fixes=(
            Fix("accept its terms on its page, with the account of your token"),
            Fix("sign in", "hf auth login"),
        ),
        signs=(
            sign(
                r"GatedRepoError",
                r"(?<!private or )gated repo",
                r"is a gated dataset",
                r"Access to (?:model|dataset) .{0,120}is restricted",
            ),
            sign(
                r"(?:401|403) Client Error.{0,200}(?:gated|restricted|authori[sz]ed|awaiting a review)",
                r"[Yy]ou are not in the authorized list",
            ),
            sign(
                r"Invalid user token",
                r"User Access Token .{0,40}(?:expired|invalid)",
                r"Token is required",
                r"LocalTokenNotFoundError",
                r"Invalid credentials in Authorization header",
                r"Invalid token passed",
                r"[Yy]our token (?:has|have) the correct permissions",
                r"You don't have the rights to create",
            ),
            sign(r"Invalid username or password", is_certain=False),
            sign(r"403 (?:Client Error|Forbidden).{0,120}(?:huggingface|hf\.co|modelscope|/resolve/|/api/)"),
            sign(
                r"(?:must|need to) (?:be )?(?:authenticated|log(?:ged)? in|accept).{0,60}(?:access|conditions"
                r"|terms|license)"
            ),
        ),
    ),
    Cause(
        "hub_not_found_or_offline",
        "the model or data was not found, or the hub not reached",
        says="Neither a folder nor the hub has it under this name, or the hub could not be reached and it "
        "is not cached.",
        fixes=(
            Fix("see that the name or path is right, and the folder is on this machine"),
            Fix("get it where there is a network", "hf download NAME"),
            Fix("a private one: sign in", "hf auth login"),
        ),
        signs=(
            sign(
                r"RepositoryNotFoundError",
                r"RevisionNotFoundError",
                r"EntryNotFoundError",
                r"LocalEntryNotFoundError",
                r"OfflineModeIsEnabled",
                r"neither a local path nor in the hub's cache",
                r"HF_HUB_OFFLINE forbids",
            ),
            sign(
                r"HFValidationError",
                r"Repo id must",
                r"Incorrect path_or_model_id",
                says="There is no such folder here, so the path was taken for a name on the hub, which it cannot be.",
            ),
            sign(
                r"is not a local folder and is not a valid model identifier",
                r"We couldn't connect to|There was a specific connection error when trying to load",
                r"couldn't find (?:them|it) in the cached files",
                r"cannot find the requested files in the (?:disk|local|cache)",
            ),
            sign(
                r"(?:does not appear to have a file named|Can't load (?:the )?(?:tokenizer|config\w*|model"
                r"|feature extractor|image processor) for|Error no file named|no file named (?:pytorch_model"
                r"|model\.safetensors))"
            ),
            sign(
                r"(?:404|401) Client Error",
                r"40[14] (?:Not Found|Unauthorized).{0,80}(?:huggingface|hf\.co|/resolve/|/api/)",
                is_certain=False,
            ),
            sign(
                r"(?:MaxRetryError|ConnectionError|ConnectTimeout|ReadTimeout|NameResolutionError|ProxyError"
                r"|SSLError|ConnectError).{0,300}(?:huggingface|hf\.co|/resolve/|/api/|hf-mirror)"
            ),
            sign(
                r"^(?:urllib3|requests|httpx|http\.client)\.(?!.{0,400}(?:wandb|mlflow|comet|clearml))\S*"
                r"(?:ProxyError|SSLError|Disconnected|Timeout|ConnectionError|ConnectError|MaxRetryError)\b",
                alone=False,
                is_certain=False,
                says="A server of the net could not be reached, nearly always the hub: a proxy, a firewall, or no net.",
            ),
            sign(
                r"Couldn't (?:find|reach) .{0,120}(?:[Hh]ub|dataset|locally|on the)",
                r"DatasetNotFoundError",
                r"DataFilesNotFoundError",
                r"Couldn't find a dataset script|Couldn't find any data file at",
                r"The directory at .{0,200}doesn't contain any data files",
                r"Unable to find '.*'(?: with any supported extension)?",
                r"(?:doesn't|does not) exist on the Hub(?: or cannot be accessed)?",
                r"No \(supported\) data files",
            ),
            sign(r"offline mode", r"HF_HUB_OFFLINE", r"TRANSFORMERS_OFFLINE", alone=False),
            sign(
                r"(?:unreachable|resolution|not known|timed out|refused).{0,20}thrown while requesting",
                is_certain=False,
                says="The hub could not be reached, and what was asked of it is not cached.",
            ),
            sign(
                r"Can't find '?[\w.]+'? (?:at|in) '",
                r"Can't find weights for .{0,200}in the Hugging Face Hub",
                r"(?:request|requested) model: .{0,120}(?:does not|not) exist",
                r"modelscope\S*NotExistError",
                r"Unable to load weights from pytorch checkpoint file",
                r"adapter model file not found in",
                r'Not found: ".*": No such file or directory',
            ),
            sign(
                r"unable to open file <[^>]*> in read-only mode: No such file",
                says=_NO_FILE,
            ),
            sign(
                r"Consistency check failed: file should be of size",
                r"(?:ChunkedEncodingError|IncompleteRead|ProtocolError).{0,200}(?:IncompleteRead|Connection broken)",
                says="A download broke off before its end.",
            ),
            sign(
                r"Unrecognized model in",
                r"model_type.{0,60}not (?:found|recognized) in.{0,40}config\.json",
                says="The folder has no configuration of a model that is known.",
            ),
            sign(
                r"(?:5\d\d|429) (?:Server|Client) Error.{0,120}(?:huggingface|hf\.co|/resolve/|/api/)",
                is_certain=False,
                says="The hub answered with an error of its own, or would not take more requests for now.",
            ),
            sign(
                r"FileNotFoundError(?!.{0,200}(?:trainer_state|rng_state|tmp-checkpoint)).{0,200}"
                r"\.(?:jsonl?|parquet|csv|txt|safetensors|bin|model)\b",
                says=_NO_FILE,
            ),
            sign(
                r"FileNotFoundError",
                frames=r"torch/utils/data|datasets/|__getitem__|\w*dataset\w*\.py ",
                alone=False,
                is_certain=False,
                says=_NO_FILE,
            ),
            sign(
                r"(?:Temporary failure in name resolution|Name or service not known|Network is unreachable"
                r"|Connection refused)",
                frames=r"huggingface_hub|httpx|requests|urllib3|from_pretrained|load_dataset",
                alone=False,
            ),
        ),
    ),
    Cause(
        "trust_remote_code_needed",
        "it brings code of its own",
        says="The model or data comes with Python code of its own, which runs only where trust_remote_code says so.",
        fixes=(Fix("read that code first, then allow it", patch=(("model.trust_remote_code", True),)),),
        signs=(
            sign(
                r"trust_remote_code ?= ?True",
                r"requires you to execute the (?:configuration|modeling|dataset|tokenizer"
                r"|processing)? ?(?:file|script|code|repository code)",
                r"contains custom code (?:which )?must be executed",
            ),
            sign(r"EOFError", frames=r"resolve_trust_remote_code"),
            sign(r"[Dd]ataset scripts are no longer supported"),
            sign(
                r"requires .{0,40}packages? that were not found in your environment: (?!.*flash_attn).*",
                alone=False,
                says="The model's own code needs packages that are not installed.",
            ),
        ),
    ),
)
