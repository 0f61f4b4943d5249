import { NotSupportedError, OptionUnknownError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { toSeconds } from '../internal/duration.js'
import { toIso } from '../protocol/time.js'
import type { ApplyOptions } from './sig.js'

const ofTheCall = 'it concerns the program that sends: give it to the call that sends the workflow'
const ofOneTask = 'it is a matter of the one task that is sent now; put it into a call of its own'

/** True for an option that travels with a signature; why not, for another one. */
const travels: Readonly<Record<keyof ApplyOptions, true | string>> = {
  taskId: true,
  countdown: true,
  eta: true,
  expires: true,
  queue: true,
  exchange: true,
  routingKey: true,
  priority: true,
  serializer: true,
  compression: true,
  timeLimit: true,
  softTimeLimit: true,
  ignoreResult: true,
  headers: true,
  shadow: true,
  link: true,
  linkError: true,
  stamps: true,
  retry: ofTheCall,
  signal: ofTheCall,
  tx: ofOneTask,
  unique: ofOneTask,
  fairnessKey: ofOneTask,
}

/** Options of a signature under Celery's names, as they stand in messages. Throws for options that do not exist, and for those that a message cannot carry. */
export function wireOptions(options: ApplyOptions): Record<string, unknown> {
  for (const name in options) {
    if (!Object.hasOwn(travels, name)) throw new OptionUnknownError(name, didYouMean(name, Object.keys(travels)))
    const option = name as keyof ApplyOptions // one of the table, just now
    const reason = travels[option]
    if (reason !== true && options[option] !== undefined) throw new NotSupportedError(`the option ${name} of a step of a workflow`, reason)
  }
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
