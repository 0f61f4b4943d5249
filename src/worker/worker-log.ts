import { destination, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../app/config.js'
import { humanLogger } from '../app/human-log.js'
import type { Logger } from '../internal/logger.js'

/** Log lines of a worker process whose app has no logger of its own: on stderr, as Celery's; for people on a terminal, as JSON elsewhere. */
export function workerLog(
  { workerLogFormat, workerLogLevel }: Pick<Config, 'workerLogFormat' | 'workerLogLevel'>,
  { process: processName, hostname }: { readonly process: string; readonly hostname?: string },
): Logger {
  const human = workerLogFormat === 'human' || (workerLogFormat === 'auto' && process.stderr.isTTY === true)
  if (!human) {
    const base = { pid: process.pid, process: processName, ...(hostname === undefined ? {} : { worker: hostname }) }
    return pino({ level: workerLogLevel, base, timestamp: stdTimeFunctions.isoTime }, destination({ fd: 2, sync: true }))
  }
  // Nothing is logged as fatal.
  return humanLogger({
    level: workerLogLevel === 'fatal' ? 'error' : workerLogLevel,
    process: processName,
    write: (line) => process.stderr.write(line),
  })
}
