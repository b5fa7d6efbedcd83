/** What the store needs to know of a resource besides its bytes: made by `fhir/mapping.ts`, applied by `store.ts`. */

/** A measured quantity as it stands in the record. */
export interface MeasuredValue {
  /** Decimal text; parsed exactly by who uses it. */
  readonly number: string;
  /** How the record names the unit: its code and its text. */
  readonly units: readonly string[];
}

/** What a row-wise predicate can look at. Dates are `YYYY-MM-DD`, cut or completed to the day. */
export interface RowAttributes {
  readonly status?: string | undefined;
  readonly date?: string | undefined;
  /** Of what is dated to the second: seconds since 1970, UTC. */
  readonly seconds?: number | undefined;
  readonly gender?: string | undefined;
  readonly birthDate?: string | undefined;
  readonly value?: MeasuredValue | undefined;
  /** The first code that the resource carries, as `system|code`: what it is called in tables of unknown keys. */
  readonly name?: string | undefined;
}

export type PatientTarget =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'identifier'; readonly system: string; readonly value: string };

export interface CodedTerm {
  readonly code: string;
  /** The systems under which the resource carries this code; '' when it gives none. */
  readonly systems: readonly string[];
}

/** A part of a resource that is a row of its own, under its own code: a component of an Observation. */
export interface RecordPart {
  /** Position in the resource; with the resource's id it names the row. */
  readonly at: number;
  readonly codes: readonly CodedTerm[];
  readonly attributes: RowAttributes;
}

export interface RecordDraft {
  readonly type: string;
  readonly id: string;
  readonly patient: PatientTarget | undefined;
  readonly codes: readonly CodedTerm[];
  readonly attributes: RowAttributes;
  /** Rows besides the resource's own; they are counted where it is. */
  readonly parts: readonly RecordPart[];
  /** False for what must not be counted: entered in error, refuted, not done, labelled opt-out. */
  readonly counted: boolean;
  /** The resource takes its patient out of every count. */
  readonly optOut: boolean;
  /** Patients that are the same person as this one. */
  readonly links: readonly string[];
  readonly identifiers: readonly { readonly system: string; readonly value: string }[];
}

export type RecordChange =
  | { readonly kind: 'put'; readonly draft: RecordDraft; readonly json: Uint8Array }
  | { readonly kind: 'delete'; readonly type: string; readonly id: string };

export type ChangeOutcome =
  | { readonly kind: 'added' }
  /** `duplicate`: the same import had already brought this id, with other content. */
  | { readonly kind: 'replaced'; readonly duplicate: boolean }
  | { readonly kind: 'deleted'; readonly resources: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unresolved'; readonly reason: string };
