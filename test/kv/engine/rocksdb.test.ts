import { vi } from 'vitest'
import { engineContract } from './contract.ts'
import { OpeningEngine } from './disk-engine.ts'
import { oldCursors } from './old-cursors.ts'

// Each engine is a thread and some files: 40 to 100 ms.
vi.setConfig({ testTimeout: 60_000 })

engineContract('rocksdb', () => new OpeningEngine())
oldCursors('rocksdb', () => new OpeningEngine())
