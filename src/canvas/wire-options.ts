import { toSeconds } from '../internal/duration.js'
import { toIso } from '../protocol/time.js'
import type { ApplyOptions } from './sig.js'

/** Options of a signature under Celery's names, as they stand in messages. What only concerns the sender (`signal`, `retry`, `tx`) stays behind. */
export function wireOptions(options: ApplyOptions): Record<string, unknown> {
  const wire: Record<string, unknown> = {}
  const put = (name: string, value: unknown): void => {
    if (value !== undefined) wire[name] = value
  }
  put('task_id', options.taskId)
  put('countdown', seconds(options.countdown, 'countdown'))
  put('eta', options.eta === undefined ? undefined : toIso(options.eta.getTime()))
  put('expires', options.expires instanceof Date ? toIso(options.expires.getTime()) : seconds(options.expires, 'expires'))
  put('queue', options.queue)
  put('exchange', options.exchange)
  put('routing_key', options.routingKey)
  put('priority', options.priority)
  put('serializer', options.serializer)
  put('compression', options.compression)
  put('time_limit', seconds(options.timeLimit, 'timeLimit'))
  put('soft_time_limit', seconds(options.softTimeLimit, 'softTimeLimit'))
  put('ignore_result', options.ignoreResult)
  put('headers', options.headers)
  put('shadow', options.shadow)
  put('link', options.link)
  put('link_error', options.linkError)
  if (options.stamps !== undefined) {
    Object.assign(wire, options.stamps)
    wire.stamped_headers = Object.keys(options.stamps)
  }
  return wire
}

function seconds(value: ApplyOptions['countdown'], name: string): number | undefined {
  return value === undefined ? undefined : toSeconds(value, name)
}
