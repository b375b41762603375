"""open_clip_train.main with a folder of model configurations, which its command line cannot name, and with DistributedDataParallel
as a CPU needs it (device_ids=None; its own call names the CPU, which torch refuses). Arguments are open_clip_train.main's."""
import os
import sys

import open_clip
import torch

if os.environ.get("MODEL_CONFIGS"):
    open_clip.add_model_config(os.environ["MODEL_CONFIGS"])


class OnProcessors(torch.nn.parallel.DistributedDataParallel):
    def __init__(self, module, device_ids=None, **rest):
        super().__init__(module, device_ids=None, **rest)


torch.nn.parallel.DistributedDataParallel = OnProcessors

from open_clip_train.main import main  # noqa: E402  (it takes the class above)

main(sys.argv[1:])
