"""How the questions of the built-in data set may be worded, by the kind of question."""

# Validation never uses the first wording of a list, training never the last (see for_split).
WORDINGS = {
    "complaint": (
        "Why did the patient come to the hospital?",
        "Why was the patient admitted?",
        "For what was the patient admitted?",
    ),
    "duration": (
        "How long had the symptoms been present?",
        "How long had this been going on?",
        "For how long was the patient unwell?",
    ),
    "admitted": (
        "When was the patient admitted?",
        "On what date was the patient admitted?",
        "On what date did the patient arrive?",
    ),
    "age": (
        "How old is the patient?",
        "What is the age of the patient?",
        "What is the patient's age?",
    ),
    "dose": (
        "What is the dose of {drug}?",
        "What dose of {drug} is the patient taking?",
        "How much {drug} is the patient taking?",
    ),
    "frequency": (
        "How often is {drug} taken?",
        "How often does the patient take {drug}?",
        "At what times does the patient take {drug}?",
    ),
    "route": (
        "How is {drug} administered?",
        "By which route is {drug} given?",
        "In what way does {drug} enter the body?",
    ),
    "reason": (
        "Why is the patient on {drug}?",
        "What is {drug} prescribed for?",
        "What is the reason for {drug}?",
        "What does {drug} treat in this patient?",
    ),
    "drug_by_reason": (
        "Which medicine is taken for {lay}?",
        "Which drug is prescribed for {lay}?",
        "What is the patient taking for {lay}?",
        "Which drug helps with {lay}?",
    ),
    "drug_by_class": (
        "Which {drug_class} does the patient take?",
        "What is the name of the {drug_class}?",
        "Is there a {drug_class} in the record, and which one?",
    ),
    "dose_by_reason": (
        "What is the dose of the medicine for {lay}?",
        "How much of the drug against {lay} is taken?",
        "In what strength is {lay} being treated?",
    ),
    "frequency_by_class": (
        "How often is the {drug_class} taken?",
        "What is the schedule of the {drug_class}?",
        "At what times does the patient use the {drug_class}?",
    ),
    "listed_second": (
        "Which medicine is named second among those taken at home?",
        "What is the second home drug in the record?",
        "Which drug comes right after the first one in the home regimen?",
    ),
    "how_taken": (
        "How does the patient take {drug}?",
        "How should {drug} be used?",
        "In which manner is the patient on {drug}?",
    ),
    "new_dose": (
        "What dose of {drug} is the patient on now?",
        "What is the current dose of {drug}?",
        "To what amount was {drug} adjusted?",
        "How much {drug} is given after the adjustment?",
    ),
    "old_dose": (
        "What dose of {drug} did the patient take before?",
        "What was the former dose of {drug}?",
        "How much {drug} was given prior to the adjustment?",
        "On what amount of {drug} was the patient originally?",
    ),
    "changed_drug": (
        "Which drug had its dose adjusted?",
        "The amount of which medicine was modified?",
        "For which medicine is there a different dose than earlier?",
    ),
    "change_cause": (
        "Why was the dose of {drug} adjusted?",
        "What prompted the different dose of {drug}?",
        "What made the team modify {drug}?",
    ),
    "stopped_drug": (
        "Which medicine was stopped?",
        "What is the patient no longer taking?",
        "Which drug had to be withdrawn?",
        "Which drug is not to be given at present?",
    ),
    "stop_cause": (
        "Why was {drug} stopped?",
        "What was the problem with {drug}?",
        "For which adverse effect is {drug} no longer given?",
    ),
    "stop_date": (
        "When was {drug} stopped?",
        "Since when is {drug} no longer given?",
        "On what day did {drug} end?",
    ),
    "start_date": (
        "When was {drug} started?",
        "On which day was {drug} first given?",
        "Since when is the patient on {drug}?",
    ),
    "started_on": (
        "Which medicine was started on {date}?",
        "What was newly prescribed on {date}?",
        "Treatment with which drug began on {date}?",
    ),
    "started_after": (
        "Which medicine was begun {days} after admission?",
        "What was newly prescribed {days} into the stay?",
        "Which drug first appeared {days} after arrival?",
    ),
    "started_last": (
        "Which new medicine was begun last?",
        "What is the most recent addition to the drugs?",
        "Which of the new drugs came later?",
    ),
    "value_on": (
        "What was the {test} on {date}?",
        "Which {test} result was obtained on {date}?",
        "What did the {test} come back as on {date}?",
    ),
    "date_of_value": (
        "When was the {test} {value}?",
        "On which day did the {test} reach {value}?",
        "What is the date of the {test} of {value}?",
    ),
    "last_value": (
        "What is the most recent {test}?",
        "What was the latest {test} result?",
        "Where did the {test} end up?",
    ),
    "first_value": (
        "What was the initial {test}?",
        "What was the {test} on arrival?",
        "From what level did the {test} start?",
    ),
    "highest_value": (
        "What was the highest {test}?",
        "What was the peak {test}?",
        "How high did the {test} get at most?",
    ),
    "finding": (
        "What did the {test} show?",
        "What was found on the {test}?",
        "What was the result of the {test}?",
    ),
    "finding_by_lay_words": (
        "What did the {test_lay} reveal?",
        "What came out of the {test_lay}?",
        "What could be seen in the {test_lay}?",
    ),
    "test_by_finding": (
        "Which examination showed {finding}?",
        "Which test turned up {finding}?",
        "By what study did they learn of {finding}?",
    ),
    "test_date": (
        "When was the {test} done?",
        "On what date did the {test} take place?",
        "Which day was the {test} performed?",
    ),
    "first_test": (
        "Which examination was done first?",
        "What was the earliest study?",
        "With which study did the work-up begin?",
    ),
    "reaction": (
        "What happens when the patient is given {allergen}?",
        "What is the reaction to {allergen}?",
        "What did {allergen} cause?",
        "How does the patient's body respond to {allergen}?",
    ),
    "allergen_by_reaction": (
        "What must be avoided because of {reaction}?",
        "Which substance led to {reaction}?",
        "Exposure to what results in {reaction}?",
    ),
    "one_allergen": (
        "Name something the patient is allergic to.",
        "What should the patient not be exposed to?",
        "Give one substance the patient cannot tolerate.",
    ),
    "relative_problem": (
        "What did the patient's {relative} suffer from?",
        "Which disease did the {relative} have?",
        "What illness is recorded for the {relative}?",
    ),
    "relative_by_problem": (
        "Who in the family had {problem}?",
        "Which relative suffered from {problem}?",
        "In whom is {problem} known?",
    ),
    "relative_age": (
        "How old was the {relative} when this happened?",
        "At what age was the {relative} affected?",
        "What age is given for the {relative}?",
    ),
    "reported": (
        "Which symptom does the patient have?",
        "What is the patient complaining about at review?",
        "Which symptom was confirmed on questioning?",
    ),
    "one_denied": (
        "Name a symptom the patient does not have.",
        "Which symptom is absent?",
        "What is the patient free of?",
    ),
    "one_problem": (
        "Name a chronic condition of the patient.",
        "Which illness did the patient already have?",
        "What long-standing disease is recorded?",
    ),
    "interval": (
        "When should the patient be seen by {clinic}?",
        "How soon is the appointment with {clinic}?",
        "After what time is the visit to {clinic} due?",
    ),
    "clinic_by_interval": (
        "Who will see the patient in {interval}?",
        "Where does the patient have to go in {interval}?",
        "With whom is the appointment in {interval}?",
    ),
    "first_visit": (
        "Which appointment comes first?",
        "Who is the patient going to see soonest?",
        "Where is the earliest visit after discharge?",
    ),
}
