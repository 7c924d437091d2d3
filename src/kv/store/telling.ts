import type { RangeDescriptor, Reader } from '../range/coprocessor.ts'
import type { Outcome, RangeChild } from '../range/range.ts'
import type { RangeHost } from './host.ts'
import type { Service } from './service.ts'

/** Tells the service's observer what an entry has brought; its writes are readable. */
export function tellObserver<Command, Response, Query, Answer, Effect>(
  outcome: Outcome<Response, Effect>,
  host: RangeHost<Command, Response, Query, Answer, Effect>,
  service: Service<Command, Response, Query, Answer, Effect>,
): void {
  const { index, nowMs, descriptor, writes, effects, child, merged } = outcome
  if (writes.length > 0 || effects.length > 0) {
    const reader = host.range.readerAs(descriptor)
    service.observer.applied(descriptor, { index, nowMs, writes, effects, leader: host.group.leads, reader })
  }
  if (child !== null) openChild(child, descriptor, host.group.leads, service)
  if (merged !== null) tellMerged(merged, descriptor, host.range.reader, service)
  const { watcher } = host.group
  if (watcher === null) return
  if (child !== null) watcher.split?.(child.descriptor)
  if (merged !== null) watcher.merged?.(merged)
  watcher.applied(index)
}

function openChild<Command, Response, Query, Answer, Effect>(
  child: RangeChild,
  parent: RangeDescriptor,
  leads: boolean,
  service: Service<Command, Response, Query, Answer, Effect>,
): void {
  const { observer } = service
  const { reader } = service.openChild(child, leads).range
  if (observer.split !== undefined) observer.split(parent, child.descriptor, reader)
  else observer.opened(child.descriptor, reader)
}

function tellMerged<Command, Response, Query, Answer, Effect>(
  right: RangeDescriptor,
  left: RangeDescriptor,
  reader: Reader,
  { observer }: Service<Command, Response, Query, Answer, Effect>,
): void {
  if (observer.merged !== undefined) return observer.merged(left, right, reader)
  observer.closed(right)
  observer.opened(left, reader)
}
