import { destination, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../app/config.js'
import { humanLogger } from '../app/human-log.js'
import type { Logger } from '../internal/logger.js'

/** Where a worker's log lines go when the app has no logger of its own: stdout, for people on a terminal and as JSON elsewhere. */
export function workerLog(config: Pick<Config, 'workerLogFormat' | 'workerLogLevel'>, hostname: string): Logger {
  const human = config.workerLogFormat === 'human' || (config.workerLogFormat === 'auto' && process.stdout.isTTY === true)
  // humanLogger knows no level above error, and nothing is logged as fatal.
  if (human)
    return humanLogger({
      level: config.workerLogLevel === 'fatal' ? 'error' : config.workerLogLevel,
      process: 'MainProcess',
      write: (line) => process.stdout.write(line),
    })
  return pino(
    { level: config.workerLogLevel, base: { pid: process.pid, worker: hostname }, timestamp: stdTimeFunctions.isoTime },
    destination({ fd: 1, sync: true }),
  )
}
