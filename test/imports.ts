/** Reads what the files of src import, for test/house.test.ts. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const src = fileURLToPath(new URL('../src', import.meta.url))

export interface Import {
  /** Relative to src: `app/sender.ts`. */
  readonly file: string
  /** A file relative to src, or a specifier: `node:fs`, `pino`. */
  readonly target: string
  readonly local: boolean
  /** `import('…')` that runs; a type query is static. */
  readonly dynamic: boolean
}

export function sourceFiles(): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.replaceAll('\\', '/'))
    .sort()
}

export function importsOf(file: string): Import[] {
  const source = withoutComments(readFileSync(join(src, file), 'utf8'))
  const found: Import[] = []
  for (const [, specifier = ''] of source.matchAll(/(?:^|\n)\s*(?:import|export)\s[^'"`;]*?from\s*'([^']+)'/g))
    found.push(toImport(file, specifier, false))
  for (const [, specifier = ''] of source.matchAll(/(?:^|\n)\s*import\s*'([^']+)'/g)) found.push(toImport(file, specifier, false))
  for (const [, type, specifier = ''] of source.matchAll(/(typeof\s+)?\bimport\(\s*'([^']+)'/g))
    found.push(toImport(file, specifier, type === undefined))
  return found
}

function toImport(file: string, specifier: string, dynamic: boolean): Import {
  const local = specifier.startsWith('.')
  const target = local
    ? relative(src, join(src, dirname(file), specifier))
        .replaceAll('\\', '/')
        .replace(/\.js$/, '.ts')
    : specifier
  return { file, target, local, dynamic }
}

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|[\s;{(])\/\/.*$/gm, '$1')
}

/** `redis` of `redis/lib/x`, `@msgpack/msgpack` of itself. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
