/** Words that the refusal of questions about one person looks at; ordinary words and published eponyms, no data of anybody. */

const set = (words: string): ReadonlySet<string> => new Set(words.split(/\s+/));

/** People after whom conditions, tests, operations and scores are named. */
export const EPONYMS = set(
  `parkinson parkinsons alzheimer alzheimers crohn crohns hodgkin hodgkins huntington huntingtons graves cushing cushings addison
  addisons hashimoto hashimotos sjogren sjogrens marfan marfans wilson wilsons down downs turner turners klinefelter klinefelters
  bell bells raynaud raynauds meniere menieres tourette tourettes guillain barre kaposi kaposis paget pagets barrett barretts
  dupuytren dupuytrens charcot marie tooth creutzfeldt jakob gehrig gehrigs willebrand wegener wegeners behcet behcets kawasaki
  still stills takayasu wolff white brugada ewing ewings wilms burkitt burkitts waldenstrom gaucher gauchers fabry fabrys pompe
  tay sachs hirschsprung hirschsprungs whipple whipples peyronie peyronies conn conns lyme ebola zika asperger aspergers lewy
  wernicke korsakoff korsakoffs reye reyes rett lennox gastaut dravet sturge weber osler rendu eisenmenger fallot ehlers danlos
  mallory weiss zollinger ellison budd chiari gilbert gilberts caroli henoch schonlein goodpasture alport horner horners adie
  babinski romberg rinne doppler holter apgar glasgow braden waterlow norton barthel karnofsky ranson gleason breslow clark
  schilling coombs papanicolaou pap foley hartmann nissen roux bartholin baker bakers mcardle mccune albright perthes osgood
  schlatter scheuermann scheuermanns colles smith pott potts bennett bennetts lisfranc monteggia galeazzi bowen bowens
  sezary chagas hansen hansens weil weils ludwig ludwigs vincent vincents ramsay hunt lambert eaton duchenne becker
  friedreich friedreichs kugelberg welander werdnig hoffman bright brights berger bergers buerger buergers dressler
  dresslers kussmaul cheyne stokes adams prinzmetal fontaine child pugh charlson elixhauser`,
);

/** After an eponym and its "'s": a thing, not somebody's. */
export const EPONYM_NOUNS = set(
  `disease diseases syndrome syndromes palsy phenomenon lymphoma chorea ataxia sarcoma oesophagus esophagus contracture
 thyroiditis anemia anaemia anomaly tetralogy paralysis dystrophy sign test score scale index classification fracture cyst
 ulcer angina tumour tumor nephropathy encephalopathy dementia procedure operation catheter granulomatosis purpura contractures deformity disorder`,
);

/** Common given names over several languages. None is also a word of the list of terms, a month or a verb. */
export const GIVEN_NAMES = set(
  `aaron adam adrian ahmed aisha alan albert alejandro alessandro alexander alexandra ali alice alicia amanda amelia amina amy ana
  andrea andreas andrew angela anita anja ann anna anne annette antoine antonio arthur ashley barbara beatrice ben benjamin
  bernard beth betty birgit bjorn brandon brenda brian bruno camille carla carlos carmen carol caroline catherine charles
  charlotte chen chiara chloe christian christina christine christopher claire claudia colin craig cynthia daniel daniela
  david deborah denise dennis derek diana diane diego dimitri dmitri dominik donald donna dorothy douglas edith edward eileen
  elena eleanor elias elisabeth elizabeth ella ellen emily emma enrique eric erik ernest esther ethan eugene eva evelyn
  fabian fatima felix fernando fiona florian frances francesca francesco francis franz frederick fritz gabriel gareth gary
  geoffrey george gerald gerard gertrude giovanni giulia giuseppe gloria gordon gregory gustav hannah hans harold harry hassan
  heather hector heidi heinz helen helena helga henri henry herbert hiroshi howard hugo ian ibrahim igor ingrid irene isaac
  isabel isabella ivan jack jacob jacqueline jakub james jan jane janet janice jason javier jean jennifer jeremy jessica joan
  joanna joao johan johann johanna john jonas jonathan jorge jose josef joseph joshua juan judith julia julian julie juliette
  jurgen karen karin karl katarzyna katharina katherine kathleen katja keith kenneth kevin klaus krzysztof kumar lars laura
  lauren lea leon leonard leonie lina linda lisa louis louise luca lucas lucia lucy luis luisa lukas magda magdalena malik
  manfred manuel marco marek margaret maria marianne marie marija marina mario marta martha martin mary mateo matteo matthew
  matthias maurice max melanie melissa michael michal michelle miguel mila mohamed mohammad mohammed monica monika muhammad
  nadia nancy natalia natalie nathan nicholas nicola nicolas nicole nigel nina noah nora norman oleg olga oliver olivia omar
  oscar otto pablo pamela paolo patricia patrick paul paula pavel pedro peter petra philip philippe pierre piotr rachel
  rafael rainer ralph raphael rebecca renate ricardo richard robert roberto roger roland ronald rosa rosemary roxanne
  russell ruth ryan sabine sally samantha samir samuel sandra sara sarah scott sebastian sergei sergio sharon sheila shirley
  silvia simon simone sofia sophia sophie stefan stefanie stephanie stephen steven stuart susan susanne suzanne svetlana
  sylvia takashi tamara tanja tatiana teresa thea theodore theresa thomas timothy tomas tomasz ursula valentina valerie
  vanessa vera veronica vicente victor victoria viktor vincenzo virginia vladimir walter werner wilhelm william wolfgang
  yasmin yuki yusuf yvonne zainab zoe`,
);

/** Capitalised for a reason other than being a name. */
export const CAPITALISED = set(
  `i january february march april may june july august september october november december monday tuesday wednesday thursday
  friday saturday sunday english german french spanish italian polish american european african asian caucasian hispanic
  british europe germany france spain italy poland england america africa asia covid rxnorm snomed loinc type stage class grade icu`,
);
