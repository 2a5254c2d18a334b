"""Common NVIDIA cards: their memory, capability and speeds.

Memory: ``total`` is what NVML and nvidia-smi report, ``reserved`` what the driver keeps of it (the largest value found
for the card in published outputs of ``nvidia-smi -q``, drivers 515 to 590; cards nobody published have that of a sister
card). CUDA can use the difference. Cards with ECC that can be turned off are listed as they are delivered.

Speeds: vendor's data sheets, nominal. ``flops`` are dense bf16 tensor operations that sum in float32, as training does:
GeForce cards do half of what their boxes say, and data sheets that count sparsity twice of what counts here. Before
Ampere there is no bf16: fp16. ``link`` is NVLink where every card of the kind has it, else PCIe; bridges are extra.
"""

from __future__ import annotations

from typing import NamedTuple

PCIE_3, PCIE_4, PCIE_5 = 15.75, 31.5, 63.0
"""GB/s in each direction of 16 lanes; cards with 8 lanes have half of it."""


class Known(NamedTuple):
    """One row of the table."""

    name: str
    gigabytes: int
    """Nominal size, as people name it: the 48 of ``A40-48``."""
    total: int
    """MiB, as NVML reports it."""
    reserved: int
    """MiB of it that the driver keeps."""
    capability: tuple[int, int]
    bandwidth: float
    """GB/s of its own memory."""
    flops: float
    """Tflop/s, dense bf16 (fp16 before Ampere)."""
    link: float
    """GB/s in each direction to a peer in the same host."""
    nvlink: bool = False
    """Whether that link is NVLink."""
    others: tuple[str, ...] = ()
    """Other names: those NVML gives, and what people type. A name shared by several rows means the first of them."""


PRO_6000 = ("RTX PRO 6000 Blackwell", *(f"RTX PRO 6000 Blackwell {kind} Edition" for kind in ("Workstation", "Server")))
PRO_5000_72 = ("RTX PRO 5000", "RTX PRO 5000 Blackwell", "RTX PRO 5000 72GB Blackwell")
PRO_6000_MAX_Q = ("RTX PRO 6000 Blackwell Max-Q Workstation Edition",)

CARDS = (
    # Data centre, Volta and Turing. Reserved: V100 309, T4 255 to 393, A16 251 were seen.
    Known("V100 16GB", 16, 16384, 309, (7, 0), 900, 125, 150, True, ("V100", "V100-SXM2-16GB", "V100-SXM2")),
    Known("V100 32GB", 32, 32768, 309, (7, 0), 900, 125, 150, True, ("V100", "V100-SXM2-32GB", "V100-SXM3-32GB")),
    Known("V100 PCIe 16GB", 16, 16384, 309, (7, 0), 900, 112, PCIE_3, False, ("V100", "V100-PCIE-16GB", "V100 PCIe")),
    Known("V100 PCIe 32GB", 32, 32768, 309, (7, 0), 900, 112, PCIE_3, False, ("V100", "V100-PCIE-32GB", "V100 PCIe")),
    Known("T4", 16, 15360, 393, (7, 5), 320, 65, PCIE_3),
    # Data centre, Ampere. Reserved: A100 40GB 620, 80GB 557 to 834, A40 665 to 685, A10 and A10G 304 to 526.
    Known("A10", 24, 23028, 526, (8, 6), 600, 125, PCIE_4),
    Known("A10G", 24, 23028, 526, (8, 6), 600, 70, PCIE_4),
    Known("A16", 16, 15356, 251, (8, 6), 200, 17.9, PCIE_4 / 4),  # one of the four GPUs on the board
    Known("A30", 24, 24576, 355, (8, 0), 933, 165, PCIE_4),
    Known("A40", 48, 46068, 685, (8, 6), 696, 149.7, PCIE_4),
    Known(
        "A100 SXM 80GB",
        80,
        81920,
        834,
        (8, 0),
        2039,
        312,
        300,
        True,
        ("A100", "A100-SXM4-80GB", "A100 SXM", "A100 SXM4"),
    ),
    Known(
        "A100 SXM 40GB",
        40,
        40960,
        620,
        (8, 0),
        1555,
        312,
        300,
        True,
        ("A100", "A100-SXM4-40GB", "A100 SXM", "A100 SXM4"),
    ),
    Known("A100 PCIe 80GB", 80, 81920, 834, (8, 0), 1935, 312, PCIE_4, False, ("A100", "A100 80GB PCIe", "A100 PCIe")),
    Known("A100 PCIe 40GB", 40, 40960, 620, (8, 0), 1555, 312, PCIE_4, False, ("A100", "A100-PCIE-40GB", "A100 PCIe")),
    Known("A800", 80, 81920, 834, (8, 0), 2039, 312, 200, True, ("A800-SXM4-80GB",)),
    # Data centre, Ada. Reserved: L4 556, L40S 450 to 471.
    Known("L4", 24, 23034, 556, (8, 9), 300, 121, PCIE_4),
    Known("L40", 48, 46068, 471, (8, 9), 864, 181, PCIE_4),
    Known("L40S", 48, 46068, 471, (8, 9), 864, 362, PCIE_4),
    # Data centre, Hopper. Reserved: H100 328 to 551, H200 700, 96 GB kinds 1103.
    Known("H100 SXM", 80, 81559, 551, (9, 0), 3350, 989, 450, True, ("H100", "H100 80GB HBM3", "H100 SXM5")),
    Known("H100 PCIe", 80, 81559, 551, (9, 0), 2000, 756, PCIE_5, False, ("H100",)),
    Known("H100 NVL", 94, 95830, 551, (9, 0), 3900, 835, PCIE_5, False, ("H100",)),
    Known("H800", 80, 81559, 551, (9, 0), 3350, 989, 200, True),
    Known("H200", 141, 143771, 700, (9, 0), 4800, 989, 450, True, ("H200 SXM",)),
    Known("H200 NVL", 141, 143771, 700, (9, 0), 4800, 835, PCIE_5, False),
    Known("H20", 96, 97871, 1103, (9, 0), 4000, 148, 450, True),
    Known("GH200", 96, 97871, 1103, (9, 0), 4000, 989, 150, True, ("GH200 480GB", "GH200 120GB")),
    # Data centre, Blackwell. Reserved: 178.35 GiB of a B200 are seen by CUDA; B300 and GB200 by the same share.
    Known("B200", 180, 183359, 729, (10, 0), 8000, 2250, 900, True),
    Known("GB200", 186, 189471, 753, (10, 0), 8000, 2500, 900, True),
    Known("B300", 288, 275040, 1094, (10, 3), 8000, 2250, 900, True, ("B300 SXM6 AC",)),
    # One memory with the host, of which NVML tells nothing: what Linux reports of it.
    Known("GB10", 128, 122570, 0, (12, 1), 273, 125, 25, False, ("DGX Spark",)),
    # Workstation. Reserved: A6000 and 6000 Ada 500 to 569; 94.97 GiB of an RTX PRO 6000 are seen by CUDA.
    Known("RTX PRO 6000", 96, 97887, 638, (12, 0), 1792, 503.8, PCIE_5, False, PRO_6000),
    Known("RTX PRO 6000 Max-Q", 96, 97887, 638, (12, 0), 1792, 438.9, PCIE_5, False, PRO_6000_MAX_Q),
    Known("RTX PRO 5000", 48, 48935, 541, (12, 0), 1344, 258, PCIE_5, False, ("RTX PRO 5000 Blackwell",)),
    Known("RTX PRO 5000 72GB", 72, 73415, 638, (12, 0), 1344, 258, PCIE_5, False, PRO_5000_72),
    Known("RTX 6000 Ada", 48, 49140, 569, (8, 9), 960, 364.2, PCIE_4, False, ("RTX 6000 Ada Generation",)),
    Known("RTX 5000 Ada", 32, 32760, 487, (8, 9), 576, 261.1, PCIE_4, False, ("RTX 5000 Ada Generation",)),
    Known("RTX 4500 Ada", 24, 24570, 355, (8, 9), 432, 158.5, PCIE_4, False, ("RTX 4500 Ada Generation",)),
    Known("RTX 4000 Ada", 20, 20475, 355, (8, 9), 360, 106.8, PCIE_4, False, ("RTX 4000 Ada Generation",)),
    Known("RTX A6000", 48, 49140, 569, (8, 6), 768, 154.8, PCIE_4),
    Known("RTX A5500", 24, 24564, 355, (8, 6), 768, 136.4, PCIE_4),
    Known("RTX A5000", 24, 24564, 355, (8, 6), 768, 111.1, PCIE_4),
    Known("RTX A4500", 20, 20470, 355, (8, 6), 640, 94.6, PCIE_4),
    Known("RTX A4000", 16, 16376, 355, (8, 6), 448, 76.7, PCIE_4),
    Known("Quadro RTX 8000", 48, 49152, 569, (7, 5), 672, 130.5, PCIE_3),
    Known("Quadro RTX 6000", 24, 24576, 355, (7, 5), 672, 130.5, PCIE_3),
    Known("Titan RTX", 24, 24576, 355, (7, 5), 672, 130.5, PCIE_3),
    # GeForce 50. Reserved: 5090 487.
    Known("RTX 5090", 32, 32607, 487, (12, 0), 1792, 209.5, PCIE_5),
    Known("RTX 5080", 16, 16303, 355, (12, 0), 960, 112.6, PCIE_5),
    Known("RTX 5070 Ti", 16, 16303, 355, (12, 0), 896, 87.9, PCIE_5),
    Known("RTX 5070", 12, 12227, 355, (12, 0), 672, 61.7, PCIE_5),
    Known("RTX 5060 Ti 16GB", 16, 16311, 355, (12, 0), 448, 47.4, PCIE_5 / 2, False, ("RTX 5060 Ti",)),
    Known("RTX 5060 Ti 8GB", 8, 8151, 226, (12, 0), 448, 47.4, PCIE_5 / 2, False, ("RTX 5060 Ti",)),
    Known("RTX 5060", 8, 8151, 226, (12, 0), 448, 38.4, PCIE_5 / 2),
    # GeForce 40. Reserved: 4090 354.
    Known("RTX 4090", 24, 24564, 354, (8, 9), 1008, 165.2, PCIE_4),
    Known("RTX 4080 SUPER", 16, 16376, 355, (8, 9), 736, 104.4, PCIE_4),
    Known("RTX 4080", 16, 16376, 355, (8, 9), 717, 97.5, PCIE_4),
    Known("RTX 4070 Ti SUPER", 16, 16376, 355, (8, 9), 672, 88.2, PCIE_4),
    Known("RTX 4070 Ti", 12, 12282, 355, (8, 9), 504, 80.2, PCIE_4),
    Known("RTX 4070 SUPER", 12, 12282, 355, (8, 9), 504, 71, PCIE_4),
    Known("RTX 4070", 12, 12282, 355, (8, 9), 504, 58.3, PCIE_4),
    Known("RTX 4060 Ti 16GB", 16, 16380, 355, (8, 9), 288, 44.1, PCIE_4 / 2, False, ("RTX 4060 Ti",)),
    Known("RTX 4060 Ti 8GB", 8, 8188, 226, (8, 9), 288, 44.1, PCIE_4 / 2, False, ("RTX 4060 Ti",)),
    Known("RTX 4060", 8, 8188, 226, (8, 9), 272, 30.2, PCIE_4 / 2),
    # GeForce 30. Reserved: 3090 309 to 355, 8 GB kinds 217 to 226.
    Known("RTX 3090 Ti", 24, 24564, 355, (8, 6), 1008, 80, PCIE_4),
    Known("RTX 3090", 24, 24576, 355, (8, 6), 936, 71, PCIE_4),
    Known("RTX 3080 Ti", 12, 12288, 355, (8, 6), 912, 68.2, PCIE_4),
    Known("RTX 3080 10GB", 10, 10240, 355, (8, 6), 760, 59.5, PCIE_4, False, ("RTX 3080",)),
    Known("RTX 3080 12GB", 12, 12288, 355, (8, 6), 912, 61.3, PCIE_4, False, ("RTX 3080",)),
    Known("RTX 3070 Ti", 8, 8192, 226, (8, 6), 608, 43.5, PCIE_4),
    Known("RTX 3070", 8, 8192, 226, (8, 6), 448, 40.6, PCIE_4),
    Known("RTX 3060 Ti", 8, 8192, 226, (8, 6), 448, 32.4, PCIE_4),
    Known("RTX 3060 12GB", 12, 12288, 355, (8, 6), 360, 25.5, PCIE_4, False, ("RTX 3060",)),
    Known("RTX 3060 8GB", 8, 8192, 226, (8, 6), 240, 25.5, PCIE_4, False, ("RTX 3060",)),
    # GeForce 20.
    Known("RTX 2080 Ti", 11, 11264, 245, (7, 5), 616, 53.8, PCIE_3),
    Known("RTX 2080 SUPER", 8, 8192, 226, (7, 5), 496, 44.6, PCIE_3),
    Known("RTX 2080", 8, 8192, 226, (7, 5), 448, 42.4, PCIE_3),
    Known("RTX 2070 SUPER", 8, 8192, 226, (7, 5), 448, 36.2, PCIE_3),
    Known("RTX 2070", 8, 8192, 226, (7, 5), 448, 31.5, PCIE_3),
    Known("RTX 2060 SUPER", 8, 8192, 226, (7, 5), 448, 28.7, PCIE_3),
    Known("RTX 2060 12GB", 12, 12288, 355, (7, 5), 336, 28.7, PCIE_3, False, ("RTX 2060",)),
)

STAND_INS = (
    *("RTX 3070", "RTX 3080 10GB", "RTX 3060 12GB", "RTX A4000", "RTX A4500", "RTX 3090", "RTX 5000 Ada"),
    *("A100 SXM 40GB", "A40", "A100 SXM 80GB", "H100 NVL", "RTX PRO 6000", "H200", "B200", "B300"),
)
"""The card whose figures stand for one that is described by its size alone, as ``24G``; all have bf16."""

BRIDGES = {(7, 5): 50.0, (8, 0): 300.0, (8, 6): 56.25, (9, 0): 300.0}
"""GB/s in each direction over an NVLink bridge between PCIe cards of that capability (data sheets)."""

AMD = {"MI210": 64, "MI250": 64, "MI250X": 64, "MI300X": 192, "MI325X": 256, "MI355X": 288}
"""Known not to run CUDA: name and nominal gigabytes of each GPU (an MI250 is two)."""
