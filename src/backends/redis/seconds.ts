/** Redis keeps whole seconds; 0 is for ever, as Celery has it. */
export function wholeSeconds(expiresSeconds: number | null): number {
  return expiresSeconds === null ? 0 : Math.ceil(expiresSeconds)
}
