/** Where log lines go: pino, console, or anything with these four methods. The object comes first, the message after it. */
export interface Logger {
  debug(fields: unknown, message?: string): void
  info(fields: unknown, message?: string): void
  warn(fields: unknown, message?: string): void
  error(fields: unknown, message?: string): void
}
