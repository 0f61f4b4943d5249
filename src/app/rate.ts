const seconds = { s: 1, m: 60, h: 3_600 } as const

/** Celery's rates as starts a second: `10/s`, `5/m`, `1/h`, a number for each second; 0, empty and null are no limit. Undefined: not a rate. */
export function parseRate(value: unknown): number | undefined {
  if (value === null || value === '') return 0
  const [, number = '', unit] =
    /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : '') ?? []
  if (number === '') return undefined
  return Number(number) / seconds[(unit ?? 's') as keyof typeof seconds] // the pattern allows these only
}
