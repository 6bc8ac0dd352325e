"""What this machine's matrix products and memory would allow, and the share that is reached."""

from __future__ import annotations

import torch

from benchmarks.measure import Row, take_turns
from napari_hypseg.latents.embed import block_size
from napari_hypseg.latents.folded import compile_encoder, multiply_adds
from napari_hypseg.model import VAE, get_preset
from napari_hypseg.training import select_device
from napari_hypseg.training.devices import has_fast_bfloat16


@torch.inference_mode()
def run(quick: bool) -> list[Row]:
    """Peaks are those of one large product, and of copying what does not fit the cache.

    The operations counted for the encoder are those of its products that are computed, 2 for each
    multiply-add; not the zeros that they leave out.
    """
    device = select_device("auto")
    side = 2048 if device.type == "cpu" else 8192
    rounds = 3 if quick else 9
    network = VAE(get_preset("default").model).eval()
    rows: list[Row] = []
    for dtype in (torch.float32, *[torch.bfloat16] * has_fast_bfloat16(device)):
        square = torch.randn(side, side, device=device).to(dtype)
        out = torch.empty_like(square)
        patches = torch.randn(block_size(device, dtype), 125, device=device)
        encode = compile_encoder(network, device, dtype)
        work = 2 * multiply_adds(network, dtype) * len(patches) / 1e9

        def four_times(encode=encode, patches=patches) -> None:
            for _ in range(4):
                encode(patches)

        name = str(dtype).removeprefix("torch.")
        rows += take_turns(
            f"roofline, {name}",
            {
                f"product of {side} x {side}": (
                    lambda square=square, out=out: torch.mm(square, square, out=out),
                    2 * side**3 / 1e9,
                ),
                "folded encoder": (four_times, 4 * work),
            },
            "GFLOP/s",
            rounds,
        )
        rate = rows[-1].value / (2 * multiply_adds(network, dtype) / 1e9)
        # Results are written and read once; the weights stay in the cache.
        values = sum((125, 2 * 1000, 2 * 432, 2 * 256, 2 * 64, 2))
        moved = rate * values * dtype.itemsize / 1e9
        rows.append(Row(f"roofline, {name}", "its traffic, if no cache held it", moved, "GB/s"))
    long = torch.zeros(1 << 27, device=device)
    other = torch.empty_like(long)
    rows += take_turns(
        "roofline, memory",
        {"copying 512 MB (read and written)": (lambda: other.copy_(long), 2 * long.nbytes / 1e9)},
        "GB/s",
        rounds,
    )
    return rows
