"""Changes a checkpoint such that all its hashes fit: what a wrong resume would have read."""
import json
import struct

M = (1 << 64) - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _turn(value, bits):
    return (value << bits | value >> (64 - bits)) & M


def _mix(lane, word):
    return _turn((lane + word * P2) & M, 31) * P1 & M


def xxh64(data):
    """With seed 0."""
    at, size = 0, len(data)
    if size >= 32:
        whole = size // 32 * 32
        lanes = [(P1 + P2) & M, P2, 0, -P1 & M]
        for words in struct.iter_unpack("<4Q", data[:whole]):
            lanes = [_mix(lane, word) for lane, word in zip(lanes, words)]
        value = sum(_turn(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & M
        for lane in lanes:
            value = ((value ^ _mix(0, lane)) * P1 + P4) & M
        at = whole
    else:
        value = P5
    value = (value + size) & M
    for at in range(at, size - 7, 8):
        value = (_turn(value ^ _mix(0, int.from_bytes(data[at:at + 8], "little")), 27) * P1 + P4) & M
    at = size - size % 8
    if size - at >= 4:
        value = (_turn(value ^ int.from_bytes(data[at:at + 4], "little") * P1 & M, 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        value = _turn(value ^ byte * P5 & M, 11) * P1 & M
    value = (value ^ value >> 33) * P2 & M
    value = (value ^ value >> 29) * P3 & M
    return value ^ value >> 32


def hash_text(value):
    return f"{value:016x}"


def items(checkpoint):
    """Names of the state's items and where their bytes lie in state.safetensors."""
    data = (checkpoint / "state.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    return {name: tuple(8 + size + offset for offset in value["data_offsets"])
            for name, value in header.items() if name != "__metadata__"}


def forget(checkpoint, item):
    """Sets an item of the state to zeros. False if it was zeros already."""
    path, (begin, end) = checkpoint / "state.safetensors", items(checkpoint)[item]
    data = bytearray(path.read_bytes())
    if not any(data[begin:end]):
        return False
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["state.safetensors"]["xxh64"] = hash_text(xxh64(bytes(data)))
    del manifest["xxh64"]
    text = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False)
    manifest["xxh64"] = hash_text(xxh64(text.encode()))
    (checkpoint / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return True
