/** Where log lines go: pino, console, or anything with the first four of these methods. The object comes first, the message after it. */
export interface Logger {
  debug(fields: unknown, message?: string): void
  info(fields: unknown, message?: string): void
  warn(fields: unknown, message?: string): void
  error(fields: unknown, message?: string): void
  /** Where it is there and says no, lines of that level are not even made. */
  isLevelEnabled?(level: string): boolean
}

/** Whether lines of that level go anywhere: asked where every task has one. */
export function logs(log: Logger, level: 'debug' | 'info'): boolean {
  return log.isLevelEnabled?.(level) ?? true
}
