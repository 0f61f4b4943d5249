import { createRequire } from 'node:module'
import type * as Pino from 'pino'
import type { Config } from '../app/config.js'
import { humanLogger, isLogged } from '../app/human-log.js'
import type { Logger } from '../internal/logger.js'
import { nodeName, nodePath } from '../internal/node-name.js'
import { LogFile } from './log-file.js'

/**
 * Log lines of a worker process whose app has no logger of its own: on stderr, as Celery's, or in the file of `workerLogFile`; for people on a terminal,
 * as JSON elsewhere. Throws what the system says when the file cannot be opened.
 */
export function workerLog(
  { workerLogFormat, workerLogLevel, workerLogFile }: Pick<Config, 'workerLogFormat' | 'workerLogLevel' | 'workerLogFile'>,
  { process: processName, hostname }: { readonly process: string; readonly hostname?: string },
): Logger {
  const file = workerLogFile === null ? undefined : new LogFile(nodePath(workerLogFile, hostname ?? nodeName(processName)))
  const human = workerLogFormat === 'human' || (workerLogFormat === 'auto' && file === undefined && process.stderr.isTTY === true)
  if (!human) {
    const base = { pid: process.pid, process: processName, ...(hostname === undefined ? {} : { worker: hostname }) }
    return onFirstLine(workerLogLevel, () => {
      const { destination, pino, stdTimeFunctions } = loadPino()
      return pino(
        { level: workerLogLevel, base, timestamp: stdTimeFunctions.isoTime },
        file ?? surviving(destination({ fd: 2, sync: true })),
      )
    })
  }
  // Nothing is logged as fatal.
  return humanLogger({
    level: workerLogLevel === 'fatal' ? 'error' : workerLogLevel,
    process: processName,
    write: (line) => (file === undefined ? process.stderr.write(line) : file.write(line)),
  })
}

/** Most processes of a worker write no line, and pino takes them as long to load as the app: `make` is called when there is something to write. */
function onFirstLine(level: Config['workerLogLevel'], make: () => Logger): Logger {
  let made: Logger | undefined
  const write = (lineLevel: 'debug' | 'info' | 'warn' | 'error', fields: unknown, message: string | undefined): void => {
    if (!isLogged(lineLevel, level)) return
    made ??= make()
    made[lineLevel](fields, message)
  }
  return {
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message),
    isLevelEnabled: (asked) => isLogged(asked, level),
  }
}

/** pino itself knows of readers that are gone, and not of full disks. */
function surviving<Stream extends { on(event: 'error', listener: () => void): unknown }>(stream: Stream): Stream {
  stream.on('error', () => {})
  return stream
}

/** At once, in the middle of a log call: an `import` would come too late for the line of a process that ends. */
function loadPino(): typeof Pino {
  // What the package gives is what its types say.
  return createRequire(import.meta.url)('pino') as typeof Pino
}
