/** How fast the disk is at this moment, without the broker: a busy disk explains latencies that are not the broker's. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const blockBytes = 4096
const probeMs = 500

/** Time of a small write and its fdatasync in the folder, in microseconds; empty without a folder. */
export function probeDisk(folder: string | null): Record<string, number> {
  if (folder === null) return {}
  const path = join(folder, 'bench-probe')
  const file = openSync(path, 'w')
  const block = Buffer.alloc(blockBytes)
  const micros: number[] = []
  try {
    for (const end = performance.now() + probeMs; performance.now() < end; ) {
      const began = performance.now()
      writeSync(file, block)
      fdatasyncSync(file)
      micros.push((performance.now() - began) * 1000)
    }
  } finally {
    closeSync(file)
    rmSync(path)
  }
  micros.sort((a, b) => a - b)
  const at = (share: number) => micros[Math.min(micros.length - 1, Math.floor(micros.length * share))]!
  return { idleFdatasyncP50Us: at(0.5), idleFdatasyncP99Us: at(0.99) }
}
