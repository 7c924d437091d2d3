import { deserialize, serialize } from 'node:v8'
import type { AnswerCodec } from '../range/streams.ts'

/** Answers on disk and between stores: any structured value. */
export const ANSWERS: AnswerCodec = {
  encode: (responses) => serialize(responses),
  decode: (bytes) => deserialize(bytes) as unknown[],
}
