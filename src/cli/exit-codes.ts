/** What a process ends with, after sysexits.h: the codes that Celery uses, and those that tell a script whether to try again. */
export const exitCodes = {
  ok: 0,
  /** A task or command failed. */
  failed: 1,
  /** The command line is wrong. */
  usage: 64,
  /** The broker or backend cannot be reached. */
  unavailable: 69,
  /** A fault in celeriac or in the app's own code. */
  internal: 70,
  /** A file cannot be written: for instance the pid file of a worker that runs already. */
  cannotCreate: 73,
  /** Not yet, or not certain: try again later. */
  temporary: 75,
  /** The system does not allow it. */
  notPermitted: 77,
  /** The app, its options or its packages need a change. */
  config: 78,
} as const

const byErrorCode: Readonly<Record<string, number>> = {
  ERR_NAME_INVALID: exitCodes.usage,
  ERR_ARGUMENTS_INVALID: exitCodes.usage,
  ERR_QUEUE_NOT_FOUND: exitCodes.usage,
  ERR_SCHEDULE_NOT_FOUND: exitCodes.usage,
  ERR_SCHEDULE_CONFLICT: exitCodes.usage,
  ERR_QUEUE_MISSING: exitCodes.usage,
  ERR_CONNECTION: exitCodes.unavailable,
  ERR_NOT_PUBLISHED: exitCodes.unavailable,
  ERR_BROKER_FULL: exitCodes.unavailable,
  ERR_TIMEOUT: exitCodes.temporary,
  ERR_PUBLISH_UNCERTAIN: exitCodes.temporary,
  ERR_OPTION_INVALID: exitCodes.config,
  ERR_OPTION_UNKNOWN: exitCodes.config,
  ERR_NOT_SUPPORTED: exitCodes.config,
  ERR_DRIVER_NOT_INSTALLED: exitCodes.config,
  ERR_APP_NOT_FOUND: exitCodes.config,
  ERR_DECLARATION_MISMATCH: exitCodes.config,
  ERR_URL_INVALID: exitCodes.config,
  ERR_UNSAFE_FILE: exitCodes.config,
  ERR_DATABASE_UNUSABLE: exitCodes.config,
  ERR_RESULTS_DISABLED: exitCodes.config,
  ERR_CHILD_BOOT: exitCodes.config,
  ERR_PORT_UNAVAILABLE: exitCodes.config,
  ERR_ALREADY_RUNNING: exitCodes.cannotCreate,
}

/** Of what the system says of files. */
const bySystemCode: Readonly<Record<string, number>> = {
  EACCES: exitCodes.notPermitted,
  EEXIST: exitCodes.cannotCreate,
  EPERM: exitCodes.notPermitted,
  EISDIR: exitCodes.cannotCreate,
  ENOENT: exitCodes.cannotCreate,
  ENOSPC: exitCodes.cannotCreate,
  ENOTDIR: exitCodes.cannotCreate,
  EROFS: exitCodes.cannotCreate,
}

export function exitCodeOf(error: unknown): number {
  const code = errorCode(error)
  if (code === undefined) return bySystemCode[systemCode(error) ?? ''] ?? exitCodes.internal
  return byErrorCode[code] ?? exitCodes.failed
}

/** The stable code of an error of celeriac: of any copy of it, so by its shape. */
export function errorCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' &&
    /^ERR_[A-Z_]+$/.test(code) &&
    Reflect.get(Object.getPrototypeOf(error), 'constructor')?.name !== 'NodeError'
    ? code
    : undefined
}

/** `EACCES` and the like: what the system has refused, in words of its own. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
