"""What the words of the page mean."""

WORDS = {
    "Layer": "a block of a model, counted from 0.",
    "SAE": "sparse autoencoder: turns the vector that a model computes at a token into many numbers of which few are "
    "above 0, and back.",
    "Feature": "one of these numbers. It is *active* on a token where it is above 0.",
    "Feature pair": "a feature of A and one of B that were matched and that passed every filter.",
    "Filters": "what a feature pair must pass, such as a shared top token, and r above a bar (0.1 unless the suite "
    "says otherwise); the section *Filters* has all of them.",
    "Layer pair": "one SAE of A and one of B over the same text; `2x4` is layer 2 of A and layer 4 of B. All of "
    "them are the *layer grid*.",
    "Third of the depths": "the compared layers of a model in order, cut by relative depth into an early, a middle and "
    "a late third. Layers *correspond in depth* where their relative depths are close.",
    "r": "the correlation of two features over all tokens that count. *r within tokens*: what is left of it among "
    "positions where the same token is read.",
    "Decoder row": "the direction that a feature adds to what the model computes. Scores compare how the rows of all "
    "feature pairs lie among each other.",
    "Measure, score": "a measure makes one number of the decoder rows of all feature pairs, the score: 1 is the top.",
    "RSA": "a measure: are rows that are alike in one model alike in the other? It compares ranks of similarities.",
    "CKA": "a measure: the same question, with the similarities themselves in place of ranks.",
    "SVCCA": "a measure: the correlation of the main directions in which the rows differ.",
    "Procrustes": "a measure: how well one rotation and one scale turn the rows of one model into those of the other.",
    "Strongest pairs": "the pairs of highest r, chosen without requiring a shared top token or a minimum r, so that a "
    "null has as many to score.",
    "Null": "what scores are if nothing is shared, as a list of *draws*.",
    "Interval": "the score plus and minus what drawing documents, features and seeds again moves it, 95 times of 100; "
    "*beyond its range* where it would hold scores that no pairs can have.",
    "p, q": "p: how rarely draws reach the score; ≤ marks the smallest that so many draws can give. q: p corrected "
    "over the layer grid; of what has q < 0.05 at most 5% is expected to be chance. q is after Benjamini-Hochberg; "
    "*Benjamini-Yekutieli* is stricter and holds whatever depends on what.",
    "z": "how many standard deviations of the draws a score is above their mean.",
    "Calibrated score": "0 is what chance reaches, 1 is the top.",
    "Floor, ceiling": "floor: *untrained twins*, models of the same shape of which nothing was trained, or the "
    "embeddings alone. Ceiling: one model with itself through another SAE.",
    "Hard negative": "a feature that could be mistaken for the partner of a pair: of the same top token, second best "
    "by r, or active at the same places. An *alternate* is any other feature in the partner's place.",
    "Ablated": "taken out: what a feature adds at one token, its activation times its decoder row, is taken away. The "
    "*dose* is how much that is, the *effect* what it changes in what the model expects next, and the *residual "
    "effect* the effect less that of other features there.",
    "Retrieval": "whether the partner is found as the most alike, among features that could be mistaken for it.",
    "Divergence (KL)": "how far two predictions of the next token lie apart, 0 where they are the same. Its unit is "
    "the *nat*: 1 nat is a probability lower by a factor of 2.7.",
    "Affine map": "a matrix and a shift that foretell the stream of one model from that of the other.",
    "Standard error": "how far a mean would typically move with other pairs; in sentences it stands after ±. Lines "
    "of charts and whatever is called an interval are wider: they hold 95%.",
}
"""What the words of the page mean, the shortest way; the glossary says it in full."""
