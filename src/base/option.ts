/**
 * One option of the configuration, as data: type, default, unit, limits and one sentence.
 *
 * A table of these is the only place where an option is described. Its TypeScript type, the validation, the JSON
 * Schema, the commented example file and `config print` are all derived from it. Write a table as
 * `{ ... } as const satisfies OptionTable`, and take its type with {@link OptionValues}.
 */
export type OptionSpec =
  | BooleanOption
  | IntegerOption
  | StringOption
  | SecretOption
  | ChoiceOption
  | ListOption
  | GroupOption
  | MapOption

export type OptionTable = { readonly [name: string]: OptionSpec }

interface Described {
  /** One sentence for the user, without the default and the limits, which are added. */
  readonly sentence: string
  /** True where a change takes effect without a restart. */
  readonly live?: boolean
}

interface Scalar extends Described {
  /** What it means when no value is given; only where the default is null. */
  readonly absent?: string
}

export interface BooleanOption extends Scalar {
  readonly type: 'boolean'
  readonly default: boolean
}

/** `bytes`, `seconds` and `ms` also accept text with a unit, such as `1MiB` and `10s`. */
export type OptionUnit = 'bytes' | 'seconds' | 'ms' | 'percent' | 'count' | 'per second' | 'bytes per second'

export interface IntegerOption extends Scalar {
  readonly type: 'integer'
  readonly default: number | null
  readonly min: number
  readonly max: number
  readonly unit?: OptionUnit
}

export interface StringOption extends Scalar {
  readonly type: 'string'
  readonly default: string | null
  /** A regular expression that the whole value must match; `allowed` says it in words. */
  readonly pattern?: string
  readonly allowed?: string
}

/** A string that is never printed. */
export interface SecretOption extends Scalar {
  readonly type: 'secret'
  readonly default: string | null
}

export interface ChoiceOption extends Scalar {
  readonly type: 'choice'
  readonly default: string | number | null
  readonly choices: readonly (string | number)[]
}

/** A list of strings; on the command line and in the environment separated by commas. */
export interface ListOption extends Scalar {
  readonly type: 'list'
  readonly default: readonly string[]
  readonly choices?: readonly string[]
  /** True: the texts are never printed. */
  readonly secret?: true
}

export type ScalarOption = Exclude<OptionSpec, GroupOption | MapOption>

/** Options under a common name. */
export interface GroupOption extends Described {
  readonly type: 'group'
  readonly options: OptionTable
}

/** Groups of one shape under names that the user chooses. Given entries are merged with the defaults by name. */
export interface MapOption extends Described {
  readonly type: 'map'
  readonly entries: OptionTable
  readonly default: { readonly [name: string]: { readonly [option: string]: unknown } }
  /** What a name stands for, such as `listener`. */
  readonly entryName: string
  /** True: an entry holds only what was given; who reads it falls back to the defaults. */
  readonly sparse?: boolean
}

type OrNull<Spec> = Spec extends { readonly default: null } ? null : never

/** The type of an option's value. */
export type OptionValue<Spec extends OptionSpec> = Spec extends GroupOption
  ? OptionValues<Spec['options']>
  : Spec extends MapOption
    ? {
        [name: string]: Spec extends { readonly sparse: true }
          ? Partial<OptionValues<Spec['entries']>>
          : OptionValues<Spec['entries']>
      }
    : Spec extends BooleanOption
      ? boolean
      : Spec extends ChoiceOption
        ? Spec['choices'][number] | OrNull<Spec>
        : Spec extends IntegerOption
          ? number | OrNull<Spec>
          : Spec extends ListOption
            ? readonly string[]
            : string | OrNull<Spec>

/** The type of the values of a table: what the configuration holds. */
export type OptionValues<Table extends OptionTable> = { -readonly [Name in keyof Table]: OptionValue<Table[Name]> }
