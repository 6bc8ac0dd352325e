"""One latent point per voxel: dense mapping and the store on disk."""

from napari_hypseg.latents.embed import embed, embed_job
from napari_hypseg.latents.maps import coordinate, uncertainty
from napari_hypseg.latents.near import near_job
from napari_hypseg.latents.store import Latents, find_latents, open_latents

__all__ = [
    "Latents",
    "coordinate",
    "embed",
    "embed_job",
    "find_latents",
    "near_job",
    "open_latents",
    "uncertainty",
]
