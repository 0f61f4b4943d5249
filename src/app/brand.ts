/**
 * Marks an app. The symbol is the same in every copy of celeriac that one process has loaded, so that a worker recognizes an app whose project brought
 * its own copy; `instanceof` would not.
 */
export const appBrand: unique symbol = Symbol.for('celeriac.app')

export interface BrandedApp {
  readonly [appBrand]: true
  readonly name: string
}

export function isApp(value: unknown): value is BrandedApp {
  return typeof value === 'object' && value !== null && Reflect.get(value, appBrand) === true
}
