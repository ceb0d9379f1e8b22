"""A trained model that is given away: parameters, programs and a card, in one folder."""
