/** What is known of one patient before anything is made of it: the same whether it comes of FHIR resources or of a table. */

export interface Measurement {
  readonly code: string;
  /** How the record names the unit; none: fits any feature that names none. */
  readonly units: readonly string[];
  /** On the patient's own clock; only differences count. */
  readonly hours: number;
  readonly value: number;
}

export interface PatientFacts {
  /** In years; undefined where not known. */
  readonly age: number | undefined;
  readonly sex: string | undefined;
  readonly conditions: ReadonlySet<string>;
  /** In order of time. */
  readonly measurements: readonly Measurement[];
}
