/**
 * Gives a message to this node's transient subscribers, wherever it came from.
 *
 * Hot path: without an allocation where the subscribers are plain (bench: `pairs`, `fan-out`).
 */
import { type Fanout, withoutNoLocal } from './fanout.ts'
import type { Publication } from './publication.ts'
import type { LocalTarget, Subscriber } from './subscriber.ts'

export function deliverLocal(publication: Publication, fanout: Fanout): void {
  if (publication.qos !== 0 || publication.retain) {
    const targets = fanout.targets
    for (let i = 0; i < targets.length; i++) deliverTo(publication, targets[i]!)
    return
  }
  if (fanout.plain3.length > 0) sendPlain(publication, fanout.plain3, 4)
  if (fanout.plain5.length > 0) sendPlain(publication, fanout.plain5, 5)
  const special = fanout.special
  for (let i = 0; i < special.length; i++) deliverTo(publication, special[i]!)
}

export function deliverTo(publication: Publication, target: LocalTarget): void {
  if (target.noLocal && target.subscriber.clientId === publication.publisher) {
    const reduced = withoutNoLocal(target)
    if (reduced !== null) target.subscriber.deliver(publication, reduced)
    return
  }
  target.subscriber.deliver(publication, target)
}

function sendPlain(publication: Publication, subscribers: readonly Subscriber[], version: 4 | 5): void {
  const template = publication.template(version, false)
  const size = template.end - template.start
  for (let i = 0; i < subscribers.length; i++) {
    sendQos0(subscribers[i]!, template.buffer, template.start, size, 1)
    if (subscribers[i]!.streaming) subscribers[i]!.noteLive(publication.topic, publication.timestamp)
  }
}

/** Appends `count` QoS 0 packets of `size` bytes in all, or drops them where the client is too slow. */
export function sendQos0(subscriber: Subscriber, buffer: Buffer, start: number, size: number, count: number): void {
  const output = subscriber.output
  if (output.isFull(size, subscriber.outputBytesMax)) {
    subscriber.dropped(count, 'slow-consumer')
    return
  }
  if (size > subscriber.clientPacketBytesMax && count === 1) {
    subscriber.dropped(1, 'too-large')
    return
  }
  output.append(buffer, start, start + size)
}
