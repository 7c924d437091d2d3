import { engineContract } from './contract.ts'
import { OpeningEngine } from './rocksdb-engine.ts'

engineContract('rocksdb', () => new OpeningEngine())
